//! Programs as they are read: their instructions in order, each jump by how many it passes over.

use serde_json::json;

use super::{filter, plan};

fn listing(profile: serde_json::Value) -> String {
    let profile = serde_json::from_value(profile).unwrap();
    let program = filter(&plan(&profile).unwrap()).unwrap();
    let line = |i: &[u8]| {
        let (code, k) = (u16::from_ne_bytes([i[0], i[1]]), u32::from_ne_bytes([i[4], i[5], i[6], i[7]]));
        let name = match code {
            0x20 => return format!("ld {k}"),
            0x54 => return format!("and {k:#x}"),
            0x05 => return format!("ja {k}"),
            0x06 => return format!("ret {k:#x}"),
            0x15 => "jeq",
            0x25 => "jgt",
            0x35 => "jge",
            0x45 => "jset",
            _ => "?",
        };
        format!("{name} {k:#x} {} {}", i[2], i[3])
    };
    program.chunks_exact(8).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_small_profile_is_a_small_program() {
    let arg = |index: u32, op: &str, value: u64| json!({ "index": index, "op": op, "value": value });
    let listing = listing(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        // 0 and 1 are one range, 3 is a call by itself.
        { "names": ["read", "write", "close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
        { "names": ["kill"], "action": "SCMP_ACT_TRAP", "args": [arg(1, "SCMP_CMP_EQ", 9)] },
        { "names": ["kill"], "action": "SCMP_ACT_LOG", "args": [arg(0, "SCMP_CMP_GT", 1 << 32), arg(1, "SCMP_CMP_NE", 10)] },
    ] }));
    assert_eq!(listing, include_str!("small.golden").trim_end());
}

#[test]
fn a_jump_that_would_be_too_far_is_a_long_one() {
    let rule = |n: u64, action: &str| json!({ "names": ["kill"], "action": action, "args": [{ "index": n % 6, "op": "SCMP_CMP_GT", "value": n << 33 | n }] });
    let rules: Vec<_> =
        (1..200).map(|n| rule(n, if n % 2 == 0 { "SCMP_ACT_LOG" } else { "SCMP_ACT_TRAP" })).collect();
    let listing = listing(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }));
    // The actions are written again where they are near; the rest of the program is led to.
    assert!(listing.lines().filter(|line| *line == "ret 0x7ffc0000").count() > 2);
    let long = listing.lines().filter_map(|line| line.strip_prefix("ja ")?.parse::<u32>().ok());
    assert!(long.clone().count() < 10 && long.clone().all(|distance| distance > 250), "{listing}");
}
