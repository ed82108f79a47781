//! The runtime's protection of its own program.

use serde_json::{Value, json};

use crate::support::bundle::{set_capabilities, set_namespace};
use crate::support::{Bundle, Case, case, eventually, host_command, read, runtime, runtime_digest};

/// Whether nothing of a process leads to the runtime's file: its executable is a memfd and no page is
/// mapped from the file. The device and inode, for the path may be shown otherwise.
#[track_caller]
fn is_detached(pid: i32, when: &str) {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().display().to_string();
    assert!(exe.starts_with("/memfd:"), "{when}: {exe}");
    let inode = std::os::unix::fs::MetadataExt::ino(&runtime().metadata().unwrap());
    let name = runtime().file_name().unwrap().to_str().unwrap();
    for line in read(format!("/proc/{pid}/maps")).lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let file = fields.get(5).copied().unwrap_or_default();
        let ours = fields[4] == inode.to_string() || (file.starts_with('/') && file.ends_with(name));
        assert!(!ours, "{when}: {line}");
        assert!(
            !fields[1].contains('x')
                || file.is_empty()
                || file.starts_with('[')
                || file.starts_with("/memfd:"),
            "{when}: {line}"
        );
    }
}

#[test]
fn while_created_init_leads_nowhere_to_the_hosts_program() {
    // T-A3: an overlay or a read-only bind would share the file's pages.
    let case = case!();
    let joined = |config: &mut Value| {
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })))
    };
    let b = case.script("sleep 100", |_| {});
    let with_join = case.script("sleep 100", joined);
    for b in [b, with_join] {
        case.created(&b);
        let pid = case.pid(&b.id);
        is_detached(pid, "created");
        let exe = std::fs::File::open(format!("/proc/{pid}/exe")).unwrap();
        let seals = nix::fcntl::fcntl(&exe, nix::fcntl::FcntlArg::F_GET_SEALS).unwrap();
        let all = nix::fcntl::SealFlag::F_SEAL_WRITE
            | nix::fcntl::SealFlag::F_SEAL_GROW
            | nix::fcntl::SealFlag::F_SEAL_SHRINK
            | nix::fcntl::SealFlag::F_SEAL_SEAL;
        assert!(nix::fcntl::SealFlag::from_bits_truncate(seals).contains(all), "{seals:#x}");
        drop(exe);
        case.delete(&b.id);
    }
}

/// A program in which the segment with the unwinder's tables lacks its last page: only a panic would need it.
/// Linkers leave such a hole now and then, depending on where a segment happens to end.
fn with_a_hole(mut elf: Vec<u8>) -> Vec<u8> {
    // elf(5): e_phoff is at 32, e_phnum at 56; in a header of 56 bytes p_vaddr is at 16, p_filesz at 32, p_memsz at 40.
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
    let table = usize::try_from(word(32)).unwrap();
    let headers = || (0..usize::from(elf[56])).map(|n| table + n * 56);
    let is = |at: usize, kind: u32| elf[at..at + 4] == kind.to_le_bytes();
    let tables = word(headers().find(|at| is(*at, libc::PT_GNU_EH_FRAME)).unwrap() + 16);
    let has_them = |at: usize| (word(at + 16)..word(at + 16) + word(at + 32)).contains(&tables);
    let segment = headers().find(|at| is(*at, libc::PT_LOAD) && has_them(*at)).unwrap();
    let (start, size) = (word(segment + 16), word(segment + 32));
    let end = (start + size - 1) & !0xfff;
    assert!(tables < end && size == word(segment + 40), "{start:#x}, {size:#x}, {tables:#x}");
    for at in [segment + 32, segment + 40] {
        elf[at..at + 8].copy_from_slice(&(end - start).to_le_bytes());
    }
    elf
}

#[test]
fn a_hole_between_the_runtimes_segments_does_no_harm() {
    // From a tmpfs the program is mapped right below the top, so that what is mapped later, if it is
    // as small as the hole, can't but be placed there: from other file systems in one of some hundred runs.
    let case = case!();
    let program = case.file("holed", with_a_hole(std::fs::read(runtime()).unwrap()), 0o755);
    let (from, at) = (program.display(), case.subdir("tmpfs").display().to_string());
    let script = format!("mount -t tmpfs tmpfs {at} && cp {from} {at}/runtime && exec {at}/runtime \"$@\"");
    let wrapper = ["unshare", "--mount", "sh", "-c", &script];
    let alone = case.script("echo ran", |_| {});
    let seen_by_others = case.script("echo ran", |config| {
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })))
    });
    for b in [alone, seen_by_others] {
        let create = case.call_through(&wrapper, ["create", "-b", b.path(), &b.id]).finish().ok();
        is_detached(case.pid(&b.id), "created");
        case.call(["start", &b.id]).finish().ok();
        eventually("it has run", || create.stdout() == "ran\n");
        case.until(&b.id, "stopped");
        case.delete(&b.id);
    }
}

/// A container with the runtime's own program as its program, in three disguises.
fn disguised(case: &Case, kind: &str) -> Bundle {
    let program = if kind == "itself" { "/proc/self/exe" } else { "/program" };
    let b = case.bundle(|config| {
        config["process"]["args"] = json!([program, "--version"]);
        // As much as a container may have.
        set_capabilities(config, &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
        config["process"]["noNewPrivileges"] = json!(false);
    });
    match kind {
        "script" => b.put("program", "#!/proc/self/exe\n", 0o755),
        "loader" => b.put("program", elf_with_interpreter("/proc/self/exe"), 0o755),
        _ => {}
    }
    b
}

/// A 64-bit program whose loader is another file: elf(5), a header and one PT_INTERP.
fn elf_with_interpreter(path: &str) -> Vec<u8> {
    let name = [path.as_bytes(), b"\0"].concat();
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    // ET_DYN, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum, sections
    elf.extend([&3u16.to_le_bytes()[..], &machine.to_le_bytes(), &1u32.to_le_bytes()].concat());
    elf.extend([0x1000u64, 64, 0].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend(0u32.to_le_bytes());
    elf.extend([64u16, 56, 2, 64, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    let size = name.len() as u64;
    for (kind, flags, offset, size) in [(3u32, 4u32, 64 + 2 * 56, size), (1, 5, 0, 64 + 2 * 56 + size)] {
        elf.extend([kind.to_le_bytes(), flags.to_le_bytes()].concat());
        elf.extend([offset, offset, offset, size, size, 0x1000].iter().flat_map(|n: &u64| n.to_le_bytes()));
    }
    elf.extend(name);
    elf
}

#[test]
fn a_container_can_not_run_the_runtime_as_its_program() {
    // CVE-2019-5736, T-A1.
    let case = case!();
    let before = runtime_digest();
    // Where the kernel can't take a program off its file, it is a sealed copy of the runtime, which nobody can write to.
    let sealed = !minidocker_oci::sys::exe::can_detach();
    for kind in ["itself", "script", "loader"] {
        for _ in 0..5 {
            let b = disguised(&case, kind);
            let done = case.run(&b);
            assert!(sealed || done.code() != 0 && !done.stdout().contains("version"), "{kind}: {done}");
            assert_eq!(case.leaks(), [""; 0]);
        }
    }
    assert_eq!(runtime_digest(), before);
}

#[test]
fn a_container_that_lies_in_wait_does_not_get_hold_of_the_runtime() {
    // T-A1, active: what joins its pid namespace is looked at, opened and written to.
    let case = case!();
    let copy = case.path("target-runtime");
    crate::support::copy(runtime(), &copy);
    let digest = || host_command("sha256sum", &[copy.as_os_str()]);
    let before = digest();
    let hostile = case.script(
        "echo up; while :; do for p in /proc/[0-9]*; do t=$(readlink $p/exe) || continue; case $t in */target-runtime*) echo found $p $t; \
         exec 5<$p/exe && (for i in 1 2 3 4 5 6 7 8; do (echo PWN >/proc/self/fd/5) 2>/dev/null && echo written; done);; esac; done; done",
        |config| {
            set_capabilities(config, &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]);
            config["process"]["noNewPrivileges"] = json!(false);
        },
    );
    let create = case.started(&hostile);
    eventually("it is up", || create.stdout().starts_with("up\n"));
    let path = format!("/proc/{}/ns/pid", case.pid(&hostile.id));
    for _ in 0..60 {
        let b =
            case.bundle(|config| set_namespace(config, "pid", Some(json!({ "type": "pid", "path": path }))));
        let line = [
            copy.as_os_str(),
            "--root".as_ref(),
            case.state.as_os_str(),
            "run".as_ref(),
            "-b".as_ref(),
            b.path().as_ref(),
            b.id.as_ref(),
        ];
        case.host(line).finish().ok();
    }
    case.delete(&hostile.id);
    assert_eq!(create.stdout(), "up\n");
    assert_eq!(digest(), before);
}
