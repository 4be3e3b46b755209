//! Finds the envoy-types package and reads the descriptors in it.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost_reflect::{
    DescriptorPool,
    prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        field_descriptor_proto::{Label, Type},
    },
};

/// All descriptors of envoy-types, and the two forms of TypedStruct, which it lacks.
pub(crate) fn pool() -> Result<DescriptorPool, Box<dyn Error>> {
    let file = package("envoy-types")?.join("src/generated/types.bin");
    println!("cargo:rerun-if-changed={}", file.display());
    let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut pool = DescriptorPool::decode(bytes.as_slice())?;
    for package in ["xds.type.v3", "udpa.type.v1"] {
        pool.add_file_descriptor_proto(typed_struct(package))?;
    }
    Ok(pool)
}

/// The folder of a package, as cargo resolved it for this build. Cargo is asked about a package of its own with that one
/// dependency and the workspace's lock file: about the whole workspace it answers only when everything has been
/// downloaded, tests' and other programs' dependencies too, and on a fresh machine a build downloads its own only.
fn package(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let lock = here.ancestors().map(|folder| folder.join("Cargo.lock")).find(|file| file.is_file());
    let lock = lock.ok_or("there is no Cargo.lock in this folder or above it")?;
    println!("cargo:rerun-if-changed={}", lock.display());

    let asking = PathBuf::from(env::var("OUT_DIR")?).join("asking");
    fs::create_dir_all(&asking)?;
    fs::copy(lock, asking.join("Cargo.lock"))?;
    fs::write(asking.join("lib.rs"), "")?;
    let manifest = asking.join("Cargo.toml");
    let package = "[package]\nname = \"asking\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
    fs::write(&manifest, format!("{package}[dependencies]\n{name} = \"*\"\n"))?;

    let mut command = Command::new(env::var("CARGO")?);
    command.args(["metadata", "--format-version=1", "--offline", "--filter-platform"]).arg(env::var("HOST")?);
    // From this folder, so that the same configuration of cargo holds (a vendored registry, say).
    let output = command.arg("--manifest-path").arg(manifest).current_dir(here).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let found = packages.iter().find(|p| p["name"] == name).ok_or_else(|| format!("{name} is not a dependency"))?;
    let manifest = found["manifest_path"].as_str().ok_or("a package without a manifest path")?;
    Ok(Path::new(manifest).parent().ok_or("a manifest path without a folder")?.to_owned())
}

/// `message TypedStruct { string type_url = 1; google.protobuf.Struct value = 2; }`
fn typed_struct(package: &str) -> FileDescriptorProto {
    let field = |name: &str, number, r#type: Type, type_name: Option<&str>| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(r#type.into()),
        type_name: type_name.map(str::to_owned),
        ..Default::default()
    };
    FileDescriptorProto {
        name: Some(format!("{}/typed_struct.proto", package.replace('.', "/"))),
        package: Some(package.to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        message_type: vec![DescriptorProto {
            name: Some("TypedStruct".to_owned()),
            field: vec![
                field("type_url", 1, Type::String, None),
                field("value", 2, Type::Message, Some(".google.protobuf.Struct")),
            ],
            ..Default::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    }
}
