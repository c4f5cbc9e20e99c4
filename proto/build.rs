//! Compiles the contracts with `protox`, so that nobody needs a `protoc`.

use std::{error::Error, fs, path::PathBuf};

const FILES: [&str; 14] = [
    "bulkhead/common/v1/access.proto",
    "bulkhead/common/v1/context.proto",
    "bulkhead/common/v1/errors.proto",
    "bulkhead/common/v1/fields.proto",
    "bulkhead/router/v1/message.proto",
    "bulkhead/router/v1/router.proto",
    "bulkhead/router/v1/session.proto",
    "bulkhead/tools/v1/execution.proto",
    "bulkhead/tools/v1/tools.proto",
    "bulkhead/tools/v1/provider.proto",
    "bulkhead/approval/v1/approval.proto",
    "bulkhead/audit/v1/audit.proto",
    "bulkhead/audit/v1/alert.proto",
    "bulkhead/audit/v1/job.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=bulkhead");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;

    // The typed set has lost our method options, so the encoded one is what the edge reads its rules from.
    #[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script where to write")]
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // The comments are most of it, and only people read them.
    let mut plain = protox::Compiler::new(["."])?;
    plain.include_source_info(false).include_imports(true).open_files(FILES)?;
    fs::write(out_dir.join("plain.bin"), plain.encode_file_descriptor_set())?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .codec_path("crate::StrictCodec")
        .generate_default_stubs(true)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
