//! The runtime's cache of compiled programs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{no_mkdir, profile};
use crate::support::{Case, case, installed, need, read, write};

/// The cached programs of a case.
fn cached(case: &Case) -> Vec<PathBuf> {
    let Ok(dir) = std::fs::read_dir(case.state.join(".seccomp")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn changed(path: &std::path::Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// Runs a container with the profile, whose effect shows.
#[track_caller]
fn effective(case: &Case) {
    let done = case.sh("mkdir /x", no_mkdir);
    assert!(done.code() == 1 && done.stderr().contains("Function not implemented"), "{done}");
}

#[test]
fn a_compiled_profile_is_kept_and_used_again() {
    let case = case!();
    effective(&case);
    let files = cached(&case);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(files[0].parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let before = changed(&files[0]);
    effective(&case);
    assert_eq!((cached(&case), changed(&files[0])), (files.clone(), before), "compiled anew");
    // Another profile has another place.
    case.sh("true", |config| profile(config, "SCMP_ACT_ALLOW", json!([]))).ok();
    assert_eq!(cached(&case).len(), 2);
}

#[test]
fn the_cache_is_read_the_second_time() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("true", no_mkdir);
    let log = case.path("strace");
    let trace = ["strace", "-f", "-e", "trace=openat,openat2", "-o", log.to_str().unwrap()];
    case.call_through(&trace, ["run", "-b", b.path(), &b.id]).finish().ok();
    let name = cached(&case)[0].file_name().unwrap().to_str().unwrap().to_owned();
    case.call_through(&trace, ["run", "-b", b.path(), &b.id]).finish().ok();
    let text = read(&log);
    let opened: Vec<&str> = text.lines().filter(|line| line.contains(&name)).collect();
    assert!(opened.iter().all(|line| !line.contains("O_CREAT")) && !opened.is_empty(), "{opened:?}");
}

#[test]
fn a_damaged_cache_is_not_trusted() {
    let case = case!();
    effective(&case);
    let file = cached(&case).remove(0);
    let good = std::fs::read(&file).unwrap();
    let flipped = |at: usize| {
        good.iter().enumerate().map(|(n, b)| if n == at { b ^ 1 } else { *b }).collect::<Vec<u8>>()
    };
    for bad in [
        Vec::new(),
        b"nonsense".to_vec(),
        good[..good.len() - 8].to_vec(),
        good[..good.len() - 1].to_vec(),
        flipped(0),
        flipped(good.len() - 1),
        vec![0; good.len()],
        [&good[..], &[0; 1 << 20]].concat(),
    ] {
        write(&file, &bad, 0o600);
        effective(&case);
    }
}

#[test]
fn a_cache_that_others_could_have_written_is_not_trusted() {
    let case = case!();
    effective(&case);
    let file = cached(&case).remove(0);
    let dir = file.parent().unwrap().to_owned();
    // A program that allows everything, whose checksum is right: as an attacker would leave it.
    case.sh("true", |config| profile(config, "SCMP_ACT_ALLOW", json!([]))).ok();
    let allows_all = cached(&case).into_iter().find(|other| *other != file).unwrap();
    let planted = std::fs::read(allows_all).unwrap();
    let chown =
        |path: &std::path::Path, id: u32| nix::unistd::chown(path, Some(id.into()), Some(id.into())).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap()
    };
    for (what, undo) in [
        ("the directory is another's", 0u8),
        ("the directory is open to others", 1),
        ("the file is another's", 2),
        ("the file is open to others", 3),
    ] {
        write(&file, &planted, 0o600);
        match undo {
            0 => chown(&dir, 1000),
            1 => mode(&dir, 0o777),
            2 => chown(&file, 1000),
            _ => mode(&file, 0o666),
        }
        let done = case.sh("mkdir /x", no_mkdir);
        assert!(done.stderr().contains("Function not implemented"), "{what}: {done}");
        chown(&dir, 0);
        mode(&dir, 0o700);
        if crate::support::is_there(&file) {
            chown(&file, 0);
        }
    }
    // Nor a link to a place where others write.
    let elsewhere = case.file("elsewhere", &planted, 0o600);
    std::fs::rename(&file, case.path("old")).unwrap();
    crate::support::link(&elsewhere, &file);
    effective(&case);
    std::fs::rename(&dir, case.path("old-cache")).unwrap();
    crate::support::link(case.path("old-cache"), &dir);
    effective(&case);
}

/// As its owner would have written it: the profile of one file, the program of another, the right checksum.
fn forged(profile_of: &[u8], program_of: &[u8]) -> Vec<u8> {
    use std::hash::{DefaultHasher, Hasher};
    let program_at = |file: &[u8]| {
        let mut ends = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        ends.nth(1).unwrap()
    };
    let (text, program) = (&profile_of[..program_at(profile_of)], &program_of[program_at(program_of)..]);
    let mut forged = [text, &program[..program.len() - 8]].concat();
    let mut hasher = DefaultHasher::new();
    hasher.write(&forged);
    forged.extend(hasher.finish().to_ne_bytes());
    forged
}

#[test]
fn a_file_that_others_could_have_written_is_not_trusted_whatever_is_in_it() {
    let case = case!();
    effective(&case);
    let file = cached(&case).remove(0);
    case.sh("true", |config| profile(config, "SCMP_ACT_ALLOW", json!([]))).ok();
    let other = cached(&case).into_iter().find(|other| *other != file).unwrap();
    let bad = forged(&std::fs::read(&file).unwrap(), &std::fs::read(other).unwrap());
    write(&file, &bad, 0o600);
    // Its owner is believed: so the forgery is one that would work.
    case.sh("mkdir /x", no_mkdir).ok();
    nix::unistd::chown(&file, Some(1000.into()), None).unwrap();
    effective(&case);
    write(&file, &bad, 0o620);
    effective(&case);
    write(&file, &bad, 0o602);
    effective(&case);
}

#[test]
fn a_cache_that_can_not_be_written_is_only_slower() {
    let case = case!();
    crate::support::make_dir(&case.state);
    write(&case.state.join(".seccomp"), "a file", 0o600);
    effective(&case);
}

/// Allows everything, and is a profile of its own for each number.
fn nth(config: &mut Value, n: usize) {
    let arg = json!([{ "index": 0, "op": "SCMP_CMP_EQ", "value": 1_000_000 + n }]);
    profile(
        config,
        "SCMP_ACT_ALLOW",
        json!([{ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": arg }]),
    );
}

#[test]
fn the_cache_has_a_bound_and_loses_the_oldest() {
    let case = case!();
    let mut first = Vec::new();
    for n in 0..20 {
        case.sh("true", |config| nth(config, n)).ok();
        if n == 0 {
            first = cached(&case);
        }
        assert!((1..=16).contains(&cached(&case).len()), "{n}: {:?}", cached(&case));
    }
    assert_eq!(cached(&case).len(), 16);
    assert!(!cached(&case).contains(&first[0]), "the oldest is still there");
    // What a killed `create` left behind counts, and goes first, too.
    let left = cached(&case)[0].with_file_name("0123456789abcdef.new");
    write(&left, vec![0; 600 << 10], 0o600);
    case.sh("true", |config| nth(config, 30)).ok();
    assert!(!cached(&case).contains(&left) && !cached(&case).is_empty(), "{:?}", cached(&case));
}

#[test]
fn many_at_once_keep_to_the_bound_and_none_fails() {
    let case = case!();
    let bundles: Vec<_> = (0..24).map(|n| case.script("mkdir /x", |config| nth(config, n % 6))).collect();
    let running: Vec<_> = bundles.iter().map(|b| case.call(["run", "-b", b.path(), &b.id]).spawn()).collect();
    for one in running {
        one.wait().ok();
    }
    let files = cached(&case);
    assert!((1..=16).contains(&files.len()), "{files:?}");
    assert!(files.iter().all(|file| !file.to_str().unwrap().ends_with(".new")), "{files:?}");
    effective(&case);
}

#[test]
fn on_a_small_file_system_the_cache_keeps_to_a_quarter() {
    let case = case!();
    crate::support::make_dir(&case.state);
    let options = ["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"].map(std::ffi::OsStr::new);
    let line: Vec<&std::ffi::OsStr> = options.into_iter().chain([case.state.as_os_str()]).collect();
    crate::support::host_command("mount", &line);
    for n in 0..20 {
        case.sh("true", |config| {
            nth(config, n);
            // Some kilobytes each.
            let names: Vec<String> = (0..200).map(|i| format!("no_such_call_{n}_{i}")).collect();
            config["linux"]["seccomp"]["syscalls"][0]["names"]
                .as_array_mut()
                .unwrap()
                .extend(names.into_iter().map(Value::from));
        })
        .ok();
    }
    let bytes: u64 = cached(&case).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((1..=16 << 10).contains(&bytes), "{bytes}");
    crate::support::host_command("umount", &[case.state.as_os_str()]);
}
