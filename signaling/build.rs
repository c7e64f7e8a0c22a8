//! The page is embedded by a macro that sees only the files it found: a new one must rebuild this.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for path in ["../web/index.html", "../web/client", "../web/ui"] {
        // A path that does not exist would rebuild this every time.
        if Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
