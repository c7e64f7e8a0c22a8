//! The cost of sealing and sending a packet on this machine with nothing else around it.
//!
//! `cargo bench -p tertulia-sfu --bench floor [-- --quick]`

mod machine;

use std::io;

use machine::Options;
use tertulia_sfu::testing::floor::{Method, measure};

fn main() -> io::Result<()> {
    let options = Options::read();
    machine::print(&options);
    println!("floor: copy, header, AES-128-GCM seal, send over loopback; ns per packet\n");
    println!(
        "{:<14}{:>7}{:>12}{:>12}",
        "method", "bytes", "cpu ns", "wall ns"
    );
    for bytes in [1_200, 100] {
        let report = measure(100, bytes, options.rounds, options.packets)?;
        for method in Method::ALL {
            let name = method.to_string();
            let figure = report.figures.iter().find(|(found, ..)| *found == method);
            if let Some((_, cpu, wall)) = figure.filter(|_| options.wants(&name)) {
                println!("{name:<14}{bytes:>7}{cpu:>12.0}{wall:>12.0}");
            }
        }
    }
    Ok(())
}
