//! config-linux.md: seccomp, the arguments of system calls.

use serde_json::{Value, json};

use super::linux_seccomp::on_umask;
use crate::clause::{Clause, Outcome, must};
use crate::lab::Lab;

const SECCOMP: &str = "config-linux.md#seccomp";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const OPERATOR: &str = "op (string, REQUIRED) - the operator for syscall arguments in seccomp.";
const INDEX: &str = "index (uint, REQUIRED) - the index for syscall arguments in seccomp.";
const VALUE: &str = "value (uint64, REQUIRED) - the value for syscall arguments in seccomp.";
/// More than 32 bits, and the same low half as 7.
const LONG_SEVEN: u64 = 7 | 1 << 40;

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.seccomp.operator.eq", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "EQ", &[7], &[6, 8, LONG_SEVEN])
    }),
    must("linux.seccomp.operator.ne", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "NE", &[6, 8, LONG_SEVEN], &[7])
    }),
    must("linux.seccomp.operator.lt", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "LT", &[0, 6], &[7, 8, LONG_SEVEN])
    }),
    must("linux.seccomp.operator.le", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "LE", &[0, 7], &[8, LONG_SEVEN])
    }),
    must("linux.seccomp.operator.ge", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "GE", &[7, 8, LONG_SEVEN], &[6])
    }),
    must("linux.seccomp.operator.gt", (SECCOMP, OPERATOR), |lab| {
        operator(lab, "GT", &[8, LONG_SEVEN], &[6, 7])
    }),
    must(
        "linux.seccomp.operator.masked-eq",
        (SECCOMP, "valueTwo (uint64, OPTIONAL) - the value for syscall arguments in seccomp."),
        |lab| {
            // Of the argument the bits of `value` have to be `valueTwo`.
            let args = json!([{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 6, "valueTwo": 4 }]);
            hits(lab, args, &[&[4], &[5], &[12]], &[&[6], &[2], &[0]])
        },
    ),
    must("linux.seccomp.operator.unknown", (VALUES, INVALID), |lab| {
        rule(lab, json!([{ "index": 0, "op": "SCMP_CMP_NOTHING", "value": 7 }]), "SCMP_CMP_NOTHING|op")
    }),
    must("linux.seccomp.args.op.required", (SECCOMP, OPERATOR), |lab| {
        rule(lab, json!([{ "index": 0, "value": 7 }]), "op")
    }),
    must("linux.seccomp.args.index", (SECCOMP, INDEX), |lab| {
        let args = json!([{ "index": 5, "op": "SCMP_CMP_EQ", "value": 7 }]);
        hits(lab, args, &[&[0, 0, 0, 0, 0, 7]], &[&[7, 7, 7, 7, 7, 0]])
    }),
    must("linux.seccomp.args.index.too-high", (VALUES, INVALID), |lab| {
        rule(lab, json!([{ "index": 6, "op": "SCMP_CMP_EQ", "value": 7 }]), "index|arg")
    }),
    must("linux.seccomp.args.value.64-bits", (SECCOMP, VALUE), |lab| {
        let args = json!([{ "index": 0, "op": "SCMP_CMP_EQ", "value": u64::MAX }]);
        hits(lab, args, &[&[u64::MAX]], &[&[0xffff_ffff], &[u64::MAX - 1]])
    }),
    must(
        "linux.seccomp.args.all-of-several",
        (SECCOMP, "args (array of objects, OPTIONAL) - the specific syscall in seccomp."),
        |lab| {
            let args = json!([
                { "index": 0, "op": "SCMP_CMP_EQ", "value": 7 },
                { "index": 1, "op": "SCMP_CMP_GT", "value": 1 },
            ]);
            hits(lab, args, &[&[7, 2]], &[&[7, 1], &[6, 2]])
        },
    ),
    must(
        "linux.seccomp.args.of-several-rules",
        (SECCOMP, "syscalls (array of objects, OPTIONAL) - match a syscall in seccomp."),
        |lab| {
            let rule = |value: u64, errno: u64| {
                json!({ "names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
                "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": value }] })
            };
            let draft = lab.base().seccomp("SCMP_ACT_ALLOW", json!([rule(7, 99), rule(8, 2)]));
            let ask = |value: u64| json!([format!("umask {value}"), libc::SYS_umask, [value]]);
            draft
                .ask("calls", ask(7))
                .ask("calls", ask(8))
                .ask("calls", ask(9))
                .sees("calls", json!({ "umask 7": "EADDRNOTAVAIL", "umask 8": "ENOENT", "umask 9": null }))
        },
    ),
];

/// Which first arguments match 7 by an operator, and which don't.
fn operator(lab: &Lab<'_>, name: &str, matching: &[u64], others: &[u64]) -> Outcome {
    let args = json!([{ "index": 0, "op": format!("SCMP_CMP_{name}"), "value": 7 }]);
    let words = |list: &[u64]| list.iter().map(|word| vec![*word]).collect::<Vec<_>>();
    let (matching, others) = (words(matching), words(others));
    hits(
        lab,
        args,
        &matching.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        &others.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    )
}

/// umask(2) with some words has to be refused by a rule, and with others not.
fn hits(lab: &Lab<'_>, args: Value, matching: &[&[u64]], others: &[&[u64]]) -> Outcome {
    let mut draft = on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO", "args": args }));
    let mut wanted = json!({});
    for (words, errno) in matching
        .iter()
        .map(|words| (words, json!("EPERM")))
        .chain(others.iter().map(|words| (words, Value::Null)))
    {
        let name = format!("umask{words:?}");
        draft = draft.ask("calls", json!([name, libc::SYS_umask, words]));
        wanted[name] = errno;
    }
    draft.sees("calls", wanted)
}

/// A rule with these arguments has to be refused.
fn rule(lab: &Lab<'_>, args: Value, words: &str) -> Outcome {
    on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO", "args": args })).fails(words)
}
