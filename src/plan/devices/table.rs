//! What the rules of `resources.devices` come to: for each device the accesses that are allowed. Each of them is decided by
//! the last rule that names it, and what no rule names is allowed.

use std::collections::BTreeMap;

use super::rules::{ALL, Kind, Rule};

/// For each device, the bits of what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) block: Majors,
    pub(super) char: Majors,
}

/// For each major number.
pub(super) type Majors = ByNumber<Minors>;
/// For each minor number, bits of accesses.
pub(super) type Minors = ByNumber<u8>;

/// Something for each number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByNumber<T> {
    /// Where it is something else than for all others.
    pub(super) named: BTreeMap<u32, T>,
    /// For all others.
    pub(super) others: T,
}

/// So many entries are gone through, and copied, at most: a configuration of 16 MiB could ask for numbers of them that
/// nobody waits for, or has memory for.
const MOST: usize = 1 << 22;

impl Table {
    /// `None` if it would take too long.
    pub(super) fn of(rules: &[Rule]) -> Option<Self> {
        let all =
            ByNumber { named: BTreeMap::new(), others: ByNumber { named: BTreeMap::new(), others: ALL } };
        let mut table = Self { block: all.clone(), char: all };
        let mut left = MOST;
        for rule in rules {
            let kinds = [(Kind::Block, &mut table.block), (Kind::Char, &mut table.char)];
            for (_, majors) in kinds.into_iter().filter(|(kind, _)| rule.kind.is_none_or(|own| own == *kind))
            {
                let mut inner = 0;
                let outer = majors.change(rule.major, &mut |minors| {
                    inner += minors.change(rule.minor, &mut |allowed| *allowed = rule.applied_to(*allowed));
                });
                left = left.checked_sub(outer + inner)?;
            }
        }
        Some(table)
    }

    /// Whether there is nothing to deny.
    pub(super) fn allows_all(&self) -> bool {
        let allows_all = |majors: &Majors| majors.only().and_then(Minors::only) == Some(&ALL);
        allows_all(&self.block) && allows_all(&self.char)
    }
}

impl Rule {
    fn applied_to(&self, allowed: u8) -> u8 {
        match self.allow {
            true => allowed | self.access,
            false => allowed & !self.access,
        }
    }
}

/// How many entries something has, itself included.
pub(super) trait Size {
    fn size(&self) -> usize;
}

impl Size for u8 {
    fn size(&self) -> usize {
        1
    }
}

impl Size for Minors {
    fn size(&self) -> usize {
        1 + self.named.len()
    }
}

impl<T: Clone + PartialEq + Size> ByNumber<T> {
    /// Changes what there is for a number, or for all. Answers how many entries it has gone through.
    fn change(&mut self, number: Option<u32>, change: &mut dyn FnMut(&mut T)) -> usize {
        match number {
            Some(number) => {
                let others = &self.others;
                let named = self.named.entry(number).or_insert_with(|| others.clone());
                change(named);
                if named == others {
                    self.named.remove(&number);
                }
                self.others.size()
            }
            None => {
                let reached = 1 + self.named.len();
                change(&mut self.others);
                let others = &self.others;
                self.named.retain(|_, named| {
                    change(named);
                    named != others
                });
                reached
            }
        }
    }
}

impl<T> ByNumber<T> {
    /// What there is for all numbers, if it is the same.
    pub(super) fn only(&self) -> Option<&T> {
        self.named.is_empty().then_some(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::plan::devices::rules::{ALL, Kind, Rule};

    /// As many as a configuration of 16 MiB has.
    #[test]
    fn rules_without_end_are_refused() {
        let rule = |major: Option<u32>, minor: Option<u32>, access: u8| Rule {
            allow: minor.is_some_and(|minor| minor % 2 == 0),
            kind: Some(Kind::Char),
            major,
            minor,
            access,
        };
        let minors = |count: u32| (0..count).map(|n| rule(Some(300), Some(n), 2));
        assert!(Table::of(&minors(300_000).collect::<Vec<_>>()).is_some());
        // Each has all that there are changed.
        let all_again = minors(150_000).flat_map(|named| [named, rule(None, None, 4)]);
        assert_eq!(Table::of(&all_again.collect::<Vec<_>>()), None);
        // Each major has all the minors that were named without one.
        let many = (0..4_000).map(|n| rule(None, Some(n), 2));
        let many = many.chain((0..296_000).map(|n| rule(Some(n), Some(4096), 4)));
        assert_eq!(Table::of(&many.collect::<Vec<_>>()), None);
    }

    #[test]
    fn what_is_the_same_for_all_is_not_told_apart() {
        let rule = |allow, major, minor| Rule { allow, kind: None, major, minor, access: ALL };
        let deny_all = rule(false, None, None);
        let table =
            Table::of(&[rule(true, Some(1), Some(3)), deny_all, rule(true, Some(1), Some(5))]).unwrap();
        assert_eq!(table.char.named.len(), 1);
        assert_eq!(table.char.named[&1].named.len(), 1);
        assert_eq!(Table::of(&[rule(true, Some(1), Some(3)), deny_all]), Table::of(&[deny_all]));
        assert!(
            Table::of(&[deny_all, rule(true, Some(1), Some(3)), rule(true, None, None)])
                .unwrap()
                .allows_all()
        );
    }
}
