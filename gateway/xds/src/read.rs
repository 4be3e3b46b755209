//! Reading files that the configuration names. What stands under a name may be anything by now: a FIFO that nobody
//! writes to, a device without an end, a file larger than the memory. None of them may hold up or fill the gateway.

use std::{
    fs::{self, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// How much a file may hold unless the field that names it says otherwise: 64 MiB.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's reason.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Something else has its name.
    #[error("it is {0}: put a regular file there, or a symbolic link to one")]
    NotAFile(&'static str),
    /// It holds more than it may.
    #[error("it has more than {0} bytes, and no more are read: make it smaller, or put the file there that is meant")]
    TooLarge(u64),
}

/// All of a file, if it is one and has at most `limit` bytes.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    // Before it is opened: to open a device may do something, and a socket cannot be opened at all.
    is_file(fs::metadata(path)?.file_type())?;
    // Without O_NONBLOCK, opening a FIFO that has just been put there would wait for who writes to it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let found = file.metadata()?;
    is_file(found.file_type())?;
    if found.len() > limit {
        return Err(ReadError::TooLarge(limit));
    }
    read_stream(file, limit)
}

/// Everything that comes until the end, if that is at most `limit` bytes.
pub fn read_stream(stream: impl Read, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    // One more than is allowed tells that there is more, however much that is.
    stream.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(bytes) }
}

fn is_file(kind: FileType) -> Result<(), ReadError> {
    Err(ReadError::NotAFile(match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs::File, os::unix::net::UnixListener, process::Command};

    use super::*;

    fn told(path: &Path, limit: u64) -> String {
        read_file(path, limit).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_is_told_and_not_waited_for() {
        let folder = std::env::temp_dir().join(format!("weir-read-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (fifo, socket, link) = (folder.join("fifo"), folder.join("socket"), folder.join("link"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for (path, kind) in [(&fifo, "a FIFO"), (&socket, "a socket"), (&link, "a device"), (&folder, "a folder")] {
            let reason = told(path, 9);
            assert!(reason.starts_with(&format!("it is {kind}: ")), "{reason}");
        }
        assert!(matches!(read_file(&folder.join("none"), 9), Err(ReadError::System(_))));

        let file = folder.join("file");
        fs::write(&file, "123").unwrap();
        assert_eq!(read_file(&file, 3).unwrap(), b"123");
        assert!(told(&file, 2).starts_with("it has more than 2 bytes"));
        // It has no blocks: reading it would take memory only.
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(told(&file, MAX_FILE_BYTES).starts_with("it has more than 67108864 bytes"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_stream_without_an_end_is_left() {
        assert!(matches!(read_stream(io::repeat(0), 1000), Err(ReadError::TooLarge(1000))));
        assert_eq!(read_stream(&b"abc"[..], 3).unwrap(), b"abc");
    }
}
