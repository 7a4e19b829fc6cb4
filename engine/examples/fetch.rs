//! Fetches one URL with a fresh engine: `cargo run --example fetch -- URL TARGET`. Places are opened with
//! `VASSET_EGRESS_ALLOW`, as for the command.

use vasset_engine::handle::{Engine, Settings};
use vasset_engine::request::Request;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fetch URL TARGET".into());
    };
    let allowed = std::env::var("VASSET_EGRESS_ALLOW").unwrap_or_default();
    let egress_allow = allowed.split(',').map(str::to_owned).filter(|entry| !entry.is_empty()).collect();
    let engine = Engine::new(&Settings { egress_allow, ..Settings::default() })?;
    let handle = engine.submit(Request::single(url, target))?;
    let outcome = handle.wait(None).ok_or("a wait without timeout ended without outcome")??;
    for (algorithm, digest) in &outcome.digests {
        println!("{digest} {} {} bytes, {} connections", algorithm.name(), outcome.size, outcome.connections_peak);
    }
    Ok(())
}
