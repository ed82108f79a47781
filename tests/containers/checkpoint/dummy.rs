//! A CRIU that only says what it is told to say.

use crate::support::{Case, is_there, make_dir, write};

/// Response: VERSION, success, 4.2. No byte of these is 10: what bash prints goes out line by line.
pub(super) const VERSION: &[u8] = &version(4, 2);
/// Response: RESTORE, success.
pub(super) const RESTORED: &[u8] = &[0x08, 2, 0x10, 1];

const fn version(major: u8, minor: u8) -> [u8; 11] {
    [0x08, 0x8a, 0, 0x10, 1, 0x52, 4, 0x08, major, 0x10, minor]
}

/// Response: NOTIFY, success, what has happened, a pid.
pub(super) fn notice(action: &str, pid: u32) -> Vec<u8> {
    let byte = |number: usize| u8::try_from(number).unwrap();
    let pid = (0..5).map(|group| byte((pid >> (7 * group)) as usize & 0x7f) | 0x80);
    let mut body = [&[0x8a, 0, byte(action.len())], action.as_bytes(), &[0x10]].concat();
    body.extend(pid.chain([0]));
    [&[0x08, 6, 0x10, 1, 0x2a, byte(body.len())], &body[..]].concat()
}

/// A PATH with one that says this, each to one request, after what it does at first.
pub(super) fn criu_that_says(case: &Case, at_first: &str, said: &[&[u8]]) -> String {
    let programs = case.path("programs");
    if !is_there(&programs) {
        make_dir(&programs);
    }
    let mut script = format!("#!/bin/bash\n{at_first}\n");
    for message in said {
        let bytes: String = message.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        script += &format!("dd bs=64k count=1 <&\"$2\" >/dev/null 2>&1; printf '{bytes}' >&\"$2\"\n");
    }
    write(&programs.join("criu"), format!("{script}exec sleep 0.1\n"), 0o755);
    format!("{}:/usr/bin:/bin", programs.display())
}

/// A PATH with one that only says that it is 3.MINOR.
pub(super) fn old_criu(case: &Case, minor: u8) -> String {
    criu_that_says(case, "", &[&version(3, minor)])
}
