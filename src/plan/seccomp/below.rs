//! SCMP_CMP_LT and SCMP_CMP_LE where libseccomp gets them wrong (seen with 2.5.4): when a call has several rules,
//! and not all compare one argument with a number of 32 bits, it may merge the comparisons of different rules, or
//! of the upper and lower halves of an argument, so that a rule does not hold where it should. There, and only
//! there, such a comparison is replaced by several SCMP_CMP_MASKED_EQ, which say the same and are merged rightly.

use std::collections::HashSet;

use crate::error::{Result, invalid};
use crate::spec::oci::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

/// What one rule may become at most. More could not be a program that the kernel takes.
const MOST: usize = 4096;

/// Which comparisons are replaced.
#[derive(Debug)]
pub(super) struct Below<'a> {
    calls: HashSet<&'a str>,
}

impl<'a> Below<'a> {
    pub(super) fn of(profile: &'a LinuxSeccomp) -> Self {
        let rules = || profile.syscalls().iter().flatten();
        let (mut seen, mut shared) = (HashSet::<&str>::new(), HashSet::new());
        let (mut ordered, mut prone) = (HashSet::new(), HashSet::new());
        // Most profiles have none, and nothing is looked at.
        if rules().flat_map(args).any(is_ordered) {
            for rule in rules() {
                let several = args(rule).count() > 1;
                // Each comparison is a rule by itself then.
                let repeated = repeats(rule.args().as_deref().unwrap_or_default());
                let is_wide = |arg: &LinuxSeccompArg| {
                    arg.value().max(arg.value_two().unwrap_or(0)) > u64::from(u32::MAX)
                };
                for name in rule.names() {
                    if !seen.insert(name) || repeated {
                        shared.insert(name.as_str());
                    }
                    if args(rule).any(is_ordered) {
                        ordered.insert(name.as_str());
                    }
                    if several || args(rule).any(is_wide) {
                        prone.insert(name.as_str());
                    }
                }
            }
        }
        Self {
            calls: ordered.into_iter().filter(|name| prone.contains(name) && shared.contains(name)).collect(),
        }
    }

    /// The rules that take the place of one rule of a call; `None` if it stays as it is.
    pub(super) fn rewritten(
        &self,
        name: &str,
        args: &[LinuxSeccompArg],
    ) -> Result<Option<Vec<Vec<LinuxSeccompArg>>>> {
        if !self.calls.contains(name) || !args.iter().any(is_ordered) {
            return Ok(None);
        }
        let repeated = repeats(args);
        let one = |arg: &LinuxSeccompArg| match is_ordered(arg) {
            true => blocks(arg),
            false => Ok(vec![vec![*arg]]),
        };
        if repeated {
            // Each comparison is a rule by itself.
            let rules = args.iter().map(one).collect::<Result<Vec<_>>>()?;
            return Ok(Some(rules.concat()));
        }
        let mut rules: Vec<Vec<LinuxSeccompArg>> = vec![Vec::new()];
        for arg in args {
            let alternatives = one(arg)?;
            if rules.len() * alternatives.len() > MOST {
                return Err(invalid("too many comparisons with large numbers in one rule"));
            }
            rules = rules
                .iter()
                .flat_map(|rule| alternatives.iter().map(move |block| [rule.as_slice(), block].concat()))
                .collect();
        }
        Ok(Some(rules))
    }
}

fn args(rule: &LinuxSyscall) -> impl Iterator<Item = &LinuxSeccompArg> {
    rule.args().iter().flatten()
}

/// Whether two comparisons are of the same argument.
pub(super) fn repeats(args: &[LinuxSeccompArg]) -> bool {
    args.iter().any(|a| args.iter().filter(|b| a.index() == b.index()).count() > 1)
}

fn is_ordered(arg: &LinuxSeccompArg) -> bool {
    matches!(arg.op(), LinuxSeccompOperator::ScmpCmpLt | LinuxSeccompOperator::ScmpCmpLe)
}

/// The numbers below another one: for each of its bits that is set, those that are the same above the bit
/// and have 0 in its place. None below 0; all up to the largest, which is no comparison at all.
fn blocks(arg: &LinuxSeccompArg) -> Result<Vec<Vec<LinuxSeccompArg>>> {
    let limit = match arg.op() {
        LinuxSeccompOperator::ScmpCmpLe => match arg.value().checked_add(1) {
            None => return Ok(vec![Vec::new()]),
            Some(limit) => limit,
        },
        _ => arg.value(),
    };
    let set = (0..u64::BITS).filter(|bit| limit & 1 << bit != 0);
    set.map(|bit| {
        let mask = u64::MAX << bit;
        let block = LinuxSeccompArgBuilder::default()
            .index(arg.index())
            .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
            .value(mask)
            .value_two(limit & mask & !(1 << bit));
        Ok(vec![block.build()?])
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{LinuxSeccompArg, blocks};
    use serde_json::json;

    fn count(op: &str, value: u64, given: u64) -> usize {
        let arg: LinuxSeccompArg =
            serde_json::from_value(json!({ "index": 0, "op": op, "value": value })).unwrap();
        let holds = |arg: &LinuxSeccompArg| given & arg.value() == arg.value_two().unwrap();
        blocks(&arg).unwrap().iter().filter(|block| block.iter().all(holds)).count()
    }

    #[test]
    fn blocks_cover_every_number_below_once_and_no_other() {
        let borders =
            [0, 1, 2, 7, 8, u64::from(u32::MAX), 1 << 32, 1 << 63, 0x5_0000_0010, u64::MAX - 1, u64::MAX];
        for value in borders {
            for near in borders.iter().flat_map(|b| [b.wrapping_sub(1), *b, b.wrapping_add(1)]) {
                assert_eq!(
                    count("SCMP_CMP_LT", value, near),
                    usize::from(near < value),
                    "{near:#x} < {value:#x}"
                );
                assert_eq!(
                    count("SCMP_CMP_LE", value, near),
                    usize::from(near <= value),
                    "{near:#x} <= {value:#x}"
                );
            }
        }
    }
}
