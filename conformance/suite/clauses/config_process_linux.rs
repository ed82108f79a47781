//! config.md: process, what only Linux has.

use crate::clause::{Clause, Need, must};

const LINUX: &str = "config.md#linux-process";
const RAISES_LIMITS: &[Need] = &[Need::Capability("CAP_SYS_RESOURCE")];

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.oom-score-adj.set",
        (LINUX, "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value."),
        |lab| lab.with("process/oomScoreAdj", 300).sees("oomScoreAdj", 300),
    ),
    must(
        "config.process.oom-score-adj.lowered",
        (LINUX, "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value."),
        |lab| lab.with("process/oomScoreAdj", -500).sees("oomScoreAdj", -500),
    )
    .needs(RAISES_LIMITS),
    must(
        "config.process.oom-score-adj.unset",
        (LINUX, "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj."),
        |lab| {
            let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
            lab.base().sees("oomScoreAdj", own)
        },
    ),
    must(
        "config.process.oom-score-adj.invalid",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| lab.with("process/oomScoreAdj", 1001).fails("oom"),
    ),
];
