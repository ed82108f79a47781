//! What every report has: the attributes of the process and of its namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;

use caps::CapSet;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::sys::{address, call};

const LIMITS: [Resource; 16] = [
    Resource::RLIMIT_AS,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_STACK,
];

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The process as it sees itself.
pub(crate) fn report() -> Value {
    let status = status();
    let ids = |name: &str| words(&status, name);
    let number = |name: &str| ids(name).first().cloned();
    let umask = status.get("Umask").and_then(|octal| u32::from_str_radix(octal, 8).ok());
    let affinity = status.get("Cpus_allowed_list");
    let mut seen = json!({
        "pid": std::process::id(),
        "ppid": nix::unistd::getppid().as_raw(),
        "sid": nix::unistd::getsid(None).map(nix::unistd::Pid::as_raw).ok(),
        "uid": nix::unistd::getresuid().ok().map(|id| [id.real, id.effective, id.saved].map(|i| i.as_raw())),
        "gid": nix::unistd::getresgid().ok().map(|id| [id.real, id.effective, id.saved].map(|i| i.as_raw())),
        "groups": ids("Groups"),
        "umask": umask,
        "noNewPrivs": number("NoNewPrivs"),
        "seccomp": number("Seccomp"),
        "affinity": affinity,
        "cwd": std::env::current_dir().ok(),
        "exe": fs::read_link("/proc/self/exe").ok(),
        "args": std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "env": environment(),
        "capabilities": capabilities(),
        "rlimits": limits(),
        "oomScoreAdj": content("/proc/self/oom_score_adj").and_then(|text| text.parse::<i32>().ok()),
        "cgroup": content("/proc/self/cgroup"),
        "lsm": content("/proc/self/attr/current"),
        "hostname": nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned()),
        "fds": descriptors(),
        "mounts": mounts(),
        "namespaces": namespaces(),
    });
    let rest = json!({
        "domainname": uname(5),
        "machine": uname(4),
        "scheduler": scheduler(),
        "ioPriority": io_priority(),
        "memoryPolicy": memory_policy(),
        "personality": call(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]).ok(),
        // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
        "keyring": call(libc::SYS_keyctl, [0, 3u64.wrapping_neg(), 0, 0, 0, 0]).ok(),
        "clocks": { "monotonic": clock(libc::CLOCK_MONOTONIC), "boottime": clock(libc::CLOCK_BOOTTIME) },
        "terminal": terminal(),
    });
    if let (Value::Object(seen), Value::Object(rest)) = (&mut seen, rest) {
        seen.extend(rest);
    }
    seen
}

/// A file's text without the white space around it.
pub(crate) fn content(path: &str) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_matches(['\0', '\n', ' ']).to_owned())
}

/// proc_pid_status(5).
fn status() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |line: &str| line.split_once(':').map(|(k, v)| (k.to_owned(), v.trim().to_owned()));
    text.lines().filter_map(line).collect()
}

fn words(status: &BTreeMap<String, String>, name: &str) -> Vec<u64> {
    status
        .get(name)
        .map_or(Vec::new(), |text| text.split_whitespace().filter_map(|w| w.parse().ok()).collect())
}

fn environment() -> BTreeMap<String, String> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn capabilities() -> Value {
    let set = |set: CapSet| {
        let mut names: Vec<String> =
            caps::read(None, set).unwrap_or_default().iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    json!({
        "bounding": set(CapSet::Bounding),
        "effective": set(CapSet::Effective),
        "inheritable": set(CapSet::Inheritable),
        "permitted": set(CapSet::Permitted),
        "ambient": set(CapSet::Ambient),
    })
}

fn limits() -> BTreeMap<String, (u64, u64)> {
    LIMITS.iter().filter_map(|of| getrlimit(*of).ok().map(|pair| (format!("{of:?}"), pair))).collect()
}

fn descriptors() -> BTreeMap<String, String> {
    let Ok(dir) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let entry = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?.display().to_string();
        Some((entry.file_name().to_string_lossy().into_owned(), target))
    };
    // The directory itself is open meanwhile.
    let own = format!("/proc/{}/fd", std::process::id());
    dir.filter_map(|found| entry(found.ok()?)).filter(|(_, target)| *target != own).collect()
}

/// proc_pid_mountinfo(5), in its order.
fn mounts() -> Vec<Value> {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let (left, right) = (left.split(' ').collect::<Vec<_>>(), right.split(' ').collect::<Vec<_>>());
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    Some(json!({
        "root": left.get(3)?,
        "at": left.get(4)?,
        "options": list(left.get(5)?),
        "propagation": left.get(6..)?.iter().filter(|word| !word.is_empty()).collect::<Vec<_>>(),
        "type": right.first()?,
        "source": right.get(1)?,
        "data": list(right.get(2)?),
    }))
}

pub(crate) fn namespaces() -> BTreeMap<&'static str, String> {
    let link = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok().map(|to| to.display().to_string());
    NAMESPACES.iter().filter_map(|name| Some((*name, link(name)?))).collect()
}

/// A field of uname(2): 4 is the machine, 5 the domain name.
fn uname(field: usize) -> Option<String> {
    let mut buffer = [0u8; 6 * 65];
    call(libc::SYS_uname, [address(&mut buffer), 0, 0, 0, 0, 0]).ok()?;
    let bytes = buffer.get(field * 65..(field + 1) * 65)?;
    Some(bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect())
}

/// sched_getattr(2).
fn scheduler() -> Option<Value> {
    let mut attr = [0u32; 14];
    call(libc::SYS_sched_getattr, [0, address(&mut attr), 56, 0, 0, 0]).ok()?;
    let long = |at: usize| u64::from(attr[at]) | u64::from(attr[at + 1]) << 32;
    Some(json!({
        "policy": attr[1], "flags": long(2), "nice": i32::from_ne_bytes(attr[4].to_ne_bytes()), "priority": attr[5],
        "runtime": long(6), "deadline": long(8), "period": long(10), "utilMin": attr[12], "utilMax": attr[13],
    }))
}

/// ioprio_get(2) of this process: class and level.
fn io_priority() -> Option<Value> {
    let value = call(libc::SYS_ioprio_get, [1, 0, 0, 0, 0, 0]).ok()?;
    Some(json!({ "class": value >> 13, "priority": value & 0x1fff }))
}

/// get_mempolicy(2): the mode with its flags, and the nodes.
fn memory_policy() -> Option<Value> {
    let (mut mode, mut nodes) = ([0u32; 1], [0u64; 16]);
    call(libc::SYS_get_mempolicy, [address(&mut mode), address(&mut nodes), 1024, 0, 0, 0]).ok()?;
    let set: Vec<u64> = (0..64).filter(|node| nodes[0] & (1 << node) != 0).collect();
    Some(json!({ "mode": mode[0] & 0x1fff, "flags": mode[0] & !0x1fff, "nodes": set }))
}

/// Seconds of a clock, with a fraction.
pub(crate) fn clock(clock: libc::clockid_t) -> Option<f64> {
    let mut time = [0i64; 2];
    let id = u64::try_from(clock).ok()?;
    call(libc::SYS_clock_gettime, [id, address(&mut time), 0, 0, 0, 0]).ok()?;
    Some(f64::from(i32::try_from(time[0]).ok()?) + f64::from(i32::try_from(time[1]).ok()?) / 1e9)
}

/// Which of the standard descriptors are terminals, and the size of the first.
fn terminal() -> Value {
    let is_terminal = [
        nix::unistd::isatty(std::io::stdin().as_fd()),
        nix::unistd::isatty(std::io::stdout().as_fd()),
        nix::unistd::isatty(std::io::stderr().as_fd()),
    ]
    .map(|is| is.unwrap_or(false));
    let mut size = [0u16; 4];
    let has_size = call(libc::SYS_ioctl, [0, libc::TIOCGWINSZ, address(&mut size), 0, 0, 0]).is_ok();
    let name = fs::read_link("/proc/self/fd/0").ok().filter(|_| is_terminal[0]);
    json!({ "is": is_terminal, "rows": has_size.then_some(size[0]), "columns": has_size.then_some(size[1]), "name": name })
}
