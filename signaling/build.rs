//! The page is embedded by a macro that sees only the files it found: a new one must rebuild this.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for path in [
        "page/index.html",
        "page/check.html",
        "page/client",
        "page/ui",
    ] {
        println!("cargo:rerun-if-changed={path}");
    }
}
