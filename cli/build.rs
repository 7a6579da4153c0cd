//! Compiles `src/allocator.c` into the binary.

fn main() {
    println!("cargo:rerun-if-changed=src/allocator.c");
    let mut build = cc::Build::new();
    build.file("src/allocator.c").warnings_into_errors(true);
    // Of the crate `libmimalloc-sys`.
    if let Some(folder) = std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR") {
        build.include(folder);
    }
    for object in build.compile_intermediates() {
        println!("cargo:rustc-link-arg-bin=upriver={}", object.display());
    }
}
