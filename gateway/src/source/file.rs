//! A file of discovered resources (`path_config_source`).

use std::{path::Path, sync::Arc};

use weir_xds::{Kind, Lines, MAX_FILE_BYTES, Problem, ReadError, read_file};

use crate::snapshot::Update;

/// A file that gave nothing: what it gave before stays.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: ReadError,
    },
    /// It has no content: it is being written, or was cut off.
    #[error("{path}: empty; a file without resources says `resources: []`")]
    Empty {
        /// The file.
        path: String,
    },
    /// It is no DiscoveryResponse.
    #[error("{path}: {}", problems.first().map_or_else(String::new, ToString::to_string))]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        problems: Vec<Problem>,
    },
}

impl FileError {
    /// What is wrong, without the file.
    pub fn reason(&self) -> String {
        self.problems().iter().map(|problem| problem.reason.clone()).collect::<Vec<_>>().join("; ")
    }

    /// What is wrong, as problems of the file.
    pub fn problems(&self) -> Vec<Problem> {
        let whole = |reason: String| vec![Problem { path: String::new(), line: None, reason }];
        match self {
            Self::Unreadable { error, .. } => whole(format!("cannot be read: {error}")),
            Self::Empty { .. } => whole("empty; a file without resources says `resources: []`".to_owned()),
            Self::Malformed { problems, .. } => problems.clone(),
        }
    }
}

/// What a file holds.
pub fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    read_file(path, MAX_FILE_BYTES).map_err(|error| FileError::Unreadable { path: path.display().to_string(), error })
}

/// All resources of one kind in a file that holds this. What is wrong with one of them stands beside it.
pub fn resources(kind: Kind, path: &Path, contents: &[u8]) -> Result<Update, FileError> {
    let shown = path.display().to_string();
    if contents.iter().all(u8::is_ascii_whitespace) {
        return Err(FileError::Empty { path: shown });
    }
    let discovery = weir_xds::read_discovery(kind, &shown, contents);
    if !discovery.problems.is_empty() {
        return Err(FileError::Malformed { path: shown, problems: discovery.problems });
    }
    let mut resources = discovery.resources;
    for resource in resources.iter_mut().filter(|r| r.version.is_empty()) {
        resource.version.clone_from(&discovery.version);
    }
    Ok(Update { source: Arc::from(shown), kind, resources })
}

/// Puts lines beside problems that were found after the file was read.
pub(super) fn locate(path: &Path, problems: &mut [Problem]) {
    if problems.iter().all(|p| p.line.is_some()) {
        return;
    }
    // Without the text, or with another one by now, a problem has its path at least.
    let read = read_file(path, MAX_FILE_BYTES).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = read else { return };
    let lines = Lines::new(&text);
    for problem in problems.iter_mut().filter(|p| p.line.is_none()) {
        problem.line = lines.line(&problem.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn read(kind: Kind, path: &Path) -> Result<Update, FileError> {
        resources(kind, path, &contents(path)?)
    }

    #[test]
    fn files_good_and_bad() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eds.yaml");
        assert!(matches!(read(Kind::Endpoint, &path), Err(FileError::Unreadable { .. })));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read(Kind::Endpoint, &path), Err(FileError::Empty { .. })));
        fs::write(&path, "resources: {}").unwrap();
        let error = read(Kind::Endpoint, &path).unwrap_err();
        assert!(error.to_string().contains("line 1: resources: expected a list"), "{error}");
        let good = "version_info: v7\nresources:\n- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  \
                    cluster_name: a\n";
        fs::write(&path, good).unwrap();
        let update = read(Kind::Endpoint, &path).unwrap();
        assert_eq!((update.resources[0].name.as_str(), update.resources[0].version.as_str()), ("a", "v7"));
        fs::write(&path, "resources: []").unwrap();
        assert!(read(Kind::Endpoint, &path).unwrap().resources.is_empty());
        let mut problems = [Problem { path: "resources".to_owned(), line: None, reason: String::new() }];
        locate(&path, &mut problems);
        assert_eq!(problems[0].line, Some(1));
    }
}
