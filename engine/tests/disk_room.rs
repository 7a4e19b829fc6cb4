//! Real small disks: what is only announced takes nothing, what is kept free stays free, and what cannot be is said.
//!
//! Where the machine does not let a test mount one, the test says so and is over.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::download::Lab;
use support::origin::{Origin, honest_head};
use support::playlist::{Site, playlist};
use vasset_engine::error::Error;
use vasset_engine::request::{Request, Source};

const DISK_MIB: u64 = 48;

/// A mounted file system that goes with its guard.
struct SmallDisk {
    folder: tempfile::TempDir,
    kind: &'static str,
}

impl SmallDisk {
    /// `None`, in words, when it cannot be had.
    fn mount(kind: &'static str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (image, mounted) = (folder.path().join("image"), folder.path().join("disk"));
        std::fs::create_dir(&mounted).unwrap();
        let is_mounted = if kind == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs", path(&mounted)])
        } else {
            std::fs::File::create(&image).unwrap().set_len(DISK_MIB << 20).unwrap();
            run(&format!("mkfs.{kind}"), &["-q", path(&image)])
                && run("mount", &["-o", "loop", path(&image), path(&mounted)])
        };
        if !is_mounted {
            eprintln!("not tested on {kind}: this machine does not let tests mount one");
            return None;
        }
        Some(Self { folder, kind })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join("disk").join(name)
    }

    fn free(&self) -> u64 {
        let volume = rustix::fs::statvfs(self.folder.path().join("disk")).unwrap();
        volume.f_bavail * volume.f_frsize
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("disk")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|n| n != "lost+found").collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", path(&self.folder.path().join("disk"))]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Announces `length` bytes, sends a few, and breaks off.
fn boaster(length: usize, etag: Option<&'static str>) -> Origin {
    Origin::start(move |request, wire| {
        wire.send(honest_head(request, length, etag));
        wire.send([7; 51]);
        wire.close();
    })
}

fn request(lab: &Lab, url: &str, disk: &SmallDisk, name: &str) -> Request {
    let mut request = lab.request(url);
    request.target = disk.at(name);
    request.retries = 0;
    request
}

#[test]
fn a_length_that_cannot_fit_takes_nothing_and_leaves_nothing() {
    for disk in ["ext4", "tmpfs", "xfs", "btrfs"].into_iter().filter_map(SmallDisk::mount) {
        for etag in [None, Some("\"v1\"")] {
            let (lab, origin) = (Lab::new(), boaster(300_000_000, etag));
            let before = disk.free();
            let refused = lab.run(request(&lab, &origin.url("/f"), &disk, "f.mp4")).unwrap_err();
            assert!(matches!(refused, Error::DiskFull { .. }), "{}: {refused}", disk.kind);
            assert_eq!(disk.names(), Vec::<String>::new(), "{}", disk.kind);
            assert!(before - disk.free() < 1 << 20, "{}: {before} became {}", disk.kind, disk.free());
        }
    }
}

#[test]
fn a_length_that_would_fit_takes_only_what_came() {
    for disk in ["ext4", "tmpfs"].into_iter().filter_map(SmallDisk::mount) {
        for etag in [None, Some("\"v1\"")] {
            let (lab, origin) = (Lab::new(), boaster(20 << 20, etag));
            let before = disk.free();
            let mut request = request(&lab, &origin.url("/f"), &disk, "f.mp4");
            request.timeout = Some(Duration::from_secs(10));
            lab.run(request).unwrap_err();
            assert!(before - disk.free() < 2 << 20, "{}: {before} became {}", disk.kind, disk.free());
        }
    }
}

#[test]
fn what_is_kept_free_stays_free_also_from_bytes_of_unknown_number() {
    let floor = 2 << 20;
    for disk in ["ext4", "tmpfs"].into_iter().filter_map(SmallDisk::mount) {
        let lab = Lab::with(|settings| settings.disk_floor = floor);
        let endless = Origin::start(|_, wire| {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [b"100000\r\n".as_slice(), &vec![1; 1 << 20], b"\r\n"].concat();
            while wire.is_open() {
                wire.send(&chunk);
            }
        });
        let refused = lab.run(request(&lab, &endless.url("/f"), &disk, "f.mp4")).unwrap_err();
        assert!(matches!(refused, Error::DiskFull { .. }), "{}: {refused}", disk.kind);
        assert_eq!(disk.names(), Vec::<String>::new(), "{}: bytes that nothing goes on from stayed", disk.kind);

        const COUNT: usize = 400;
        let site = Site::new().with("/i.m3u8", playlist(COUNT)).with_fragments(COUNT, 200_000).start();
        let mut list = request(&lab, &site.url("/i.m3u8"), &disk, "film.ts");
        list.source = Source::Hls { url: site.url("/i.m3u8") };
        let refused = lab.run(list.clone()).unwrap_err();
        assert!(matches!(refused, Error::DiskFull { .. }), "{}: {refused}", disk.kind);
        assert!(disk.free() >= floor - (1 << 19), "{}: {} are free", disk.kind, disk.free());
        assert!(disk.free() < 3 * floor, "{}: it gave up at {}", disk.kind, disk.free());
        assert!(!disk.at("film.ts").exists());
    }
}

/// Not a test by itself: a process that may write files of 4 MiB.
#[test]
fn child() {
    let (Ok(url), Ok(target)) = (std::env::var("CHILD_URL"), std::env::var("CHILD_TARGET")) else { return };
    let lab = Lab::new();
    let mut request = lab.request(&url);
    request.target = PathBuf::from(target);
    println!("\nENDED {}", lab.run(request).map_or_else(|error| error.code(), |_| "complete"));
}

#[test]
fn a_bound_on_files_of_the_process_is_a_full_disk_and_not_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for etag in [None, Some("\"v1\"")] {
        let origin = Origin::serving(vec![3; 9 << 20], etag);
        // As Python starts: the signal of the bound is ignored.
        let this = std::env::current_exe().unwrap();
        let command = format!("trap '' XFSZ; ulimit -f 4096; exec '{}' --exact child --nocapture", this.display());
        let output = Command::new("bash")
            .args(["-c", &command])
            .envs([("CHILD_URL", origin.url("/f")), ("CHILD_TARGET", path(&folder.path().join("f")).to_owned())])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("ENDED disk_full"), "{said}");
        assert!(!folder.path().join("f").exists());
    }
}

#[test]
fn names_as_long_as_file_systems_have_them_are_downloaded_and_gone_on_with() {
    for length in [249, 255] {
        let lab = Lab::new();
        let file = support::file::bytes(1, 900_000);
        let origin = Origin::serving(file.clone(), Some("\"v1\""));
        let mut request = lab.request(&origin.url("/f"));
        request.target = lab.target().with_file_name("n".repeat(length));
        lab.run(request.clone()).unwrap();
        assert!(std::fs::read(&request.target).unwrap() == file);
        assert_eq!(std::fs::read_dir(request.target.parent().unwrap()).unwrap().count(), 1);
    }
}
