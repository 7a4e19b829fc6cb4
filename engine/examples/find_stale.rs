//! Lists old files below a folder: `find_stale DIR SECONDS_SINCE_1970 [LIST_OF_KNOWN_PATHS]`.
//!
//! With a list (one relative path a line) only files that are not in it are looked at and listed.

use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use vasset_engine::evict::{KnownPaths, find_stale, find_unknown};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, before, rest @ ..] = arguments.as_slice() else { return Err("write DIR SECONDS [LIST]".into()) };
    let (folder, before) = (Path::new(folder), before.parse()?);
    let found = match rest.first() {
        Some(list) => {
            let mut known = KnownPaths::default();
            std::fs::read_to_string(list)?.lines().for_each(|path| known.add(Path::new(path)));
            let started = std::time::Instant::now();
            let found = find_unknown(folder, &known, before, None)?;
            eprintln!("{:.3} s for the scan", started.elapsed().as_secs_f64());
            found
        }
        None => find_stale(folder, before, None)?,
    };
    let mut output = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for file in &found {
        output.write_all(file.path.as_os_str().as_bytes())?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(())
}
