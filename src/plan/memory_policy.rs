//! `linux.memoryPolicy`: config-linux.md, "Memory policy"; set_mempolicy(2).

use super::numbers::Numbers;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// As the configuration has it, for messages.
    pub name: String,
    /// The mode with its flags, linux/mempolicy.h.
    pub mode: i32,
    /// Empty where the mode takes none.
    pub nodes: Numbers,
}

/// The modes that are taken, with their numbers.
pub const MODES: [(Mode, i32); 7] = [
    (Mode::MpolDefault, 0),
    (Mode::MpolPreferred, 1),
    (Mode::MpolBind, 2),
    (Mode::MpolInterleave, 3),
    (Mode::MpolLocal, 4),
    (Mode::MpolPreferredMany, 5),
    (Mode::MpolWeightedInterleave, 6),
];

/// The flags that are taken, with their bits.
pub const FLAGS: [(Flag, i32); 3] = [
    (Flag::MpolFNumaBalancing, 1 << 13),
    (Flag::MpolFRelativeNodes, 1 << 14),
    (Flag::MpolFStaticNodes, 1 << 15),
];

/// Plans it; each rule is set_mempolicy(2)'s, which would answer EINVAL to all of them.
pub fn plan(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    one(policy).doing(|| "linux.memoryPolicy: invalid memory policy")
}

fn one(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let mode = policy.mode();
    let nodes = Numbers::parse(policy.nodes().as_deref().unwrap_or_default()).doing(|| "nodes")?;
    let has = |flag: Flag| policy.flags().as_deref().unwrap_or_default().contains(&flag);
    let about_nodes = has(Flag::MpolFStaticNodes) || has(Flag::MpolFRelativeNodes);
    if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
        return Err(invalid("flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"));
    }
    if has(Flag::MpolFNumaBalancing) && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany) {
        return Err(invalid("flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY"));
    }
    match (mode, nodes.is_empty()) {
        (Mode::MpolDefault | Mode::MpolLocal, false) => {
            return Err(invalid(format!("nodes: {mode} takes none")));
        }
        (Mode::MpolLocal | Mode::MpolPreferred, true) if about_nodes => {
            return Err(invalid(format!("flags: {mode} without nodes takes none about nodes")));
        }
        (Mode::MpolDefault | Mode::MpolLocal | Mode::MpolPreferred, _) | (_, false) => {}
        (_, true) => return Err(invalid(format!("nodes: {mode} needs at least one"))),
    }
    let number = MODES.iter().find(|(known, _)| *known == mode).map_or(0, |(_, number)| *number);
    let flags = FLAGS.iter().filter(|(flag, _)| has(*flag)).fold(0, |bits, (_, bit)| bits | bit);
    Ok(MemoryPolicy { name: mode.to_string(), mode: number | flags, nodes })
}

#[cfg(test)]
mod tests {
    use super::{MemoryPolicy, plan};

    fn planned(json: &str) -> Result<MemoryPolicy, String> {
        plan(&serde_json::from_str(json).unwrap()).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn modes_and_flags_have_the_kernels_numbers() {
        for (mode, nodes, number) in [
            ("DEFAULT", "", 0),
            ("PREFERRED", "1", 1),
            ("PREFERRED", "", 1),
            ("BIND", "0-1", 2),
            ("INTERLEAVE", "0", 3),
            ("LOCAL", "", 4),
            ("PREFERRED_MANY", "0", 5),
            ("WEIGHTED_INTERLEAVE", "0", 6),
        ] {
            let policy = planned(&format!(r#"{{"mode":"MPOL_{mode}","nodes":"{nodes}"}}"#)).unwrap();
            assert_eq!((policy.mode, policy.nodes.is_empty()), (number, nodes.is_empty()), "{mode}");
        }
        for (flag, bit) in [("NUMA_BALANCING", 0x2000), ("RELATIVE_NODES", 0x4000), ("STATIC_NODES", 0x8000)]
        {
            let policy =
                planned(&format!(r#"{{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_{flag}"]}}"#)).unwrap();
            assert_eq!(policy.mode, 2 | bit, "{flag}");
        }
    }

    #[test]
    fn nodes_may_be_left_out_where_none_are_taken() {
        for mode in ["DEFAULT", "LOCAL", "PREFERRED"] {
            assert!(planned(&format!(r#"{{"mode":"MPOL_{mode}"}}"#)).is_ok(), "{mode}");
        }
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused_with_the_rule() {
        for (mode, more, words) in [
            ("BIND", "", "nodes: MPOL_BIND needs at least one"),
            ("INTERLEAVE", r#","nodes":"""#, "nodes: MPOL_INTERLEAVE needs at least one"),
            ("WEIGHTED_INTERLEAVE", "", "needs at least one"),
            ("PREFERRED_MANY", "", "needs at least one"),
            ("DEFAULT", r#","nodes":"0""#, "nodes: MPOL_DEFAULT takes none"),
            ("LOCAL", r#","nodes":"0""#, "nodes: MPOL_LOCAL takes none"),
            ("LOCAL", r#","flags":["MPOL_F_STATIC_NODES"]"#, "flags: MPOL_LOCAL without nodes"),
            ("PREFERRED", r#","flags":["MPOL_F_RELATIVE_NODES"]"#, "flags: MPOL_PREFERRED without nodes"),
            ("INTERLEAVE", r#","nodes":"0","flags":["MPOL_F_NUMA_BALANCING"]"#, "NUMA_BALANCING is for"),
            (
                "BIND",
                r#","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]"#,
                "exclude each other",
            ),
            ("BIND", r#","nodes":"0-""#, "nodes: \"\" is not a number"),
            ("BIND", r#","nodes":"2-1""#, "nodes: the range \"2-1\" ends before it begins"),
        ] {
            let error = planned(&format!(r#"{{"mode":"MPOL_{mode}"{more}}}"#)).unwrap_err();
            assert!(error.starts_with("linux.memoryPolicy: invalid memory policy: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }
}
