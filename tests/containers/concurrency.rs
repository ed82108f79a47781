//! Verbs in any order and at the same time: runtime.md, "Operations", against a model of four states.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Bundle, Case, Running, case, nothing_is_left};

/// xorshift64: the same sequence for the same seed, which a failing test prints.
struct Random(u64);

impl Random {
    /// Another one in each run.
    fn begin() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = now.as_secs() << 20 | u64::from(now.subsec_micros());
        println!("seed {seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    Create,
    Start,
    State,
    Harmless,
    Kill,
    Delete,
    Force,
}

const OPS: [Op; 7] = [Op::Create, Op::Start, Op::State, Op::Harmless, Op::Kill, Op::Delete, Op::Force];

impl Op {
    fn line(self, b: &Bundle) -> Vec<&str> {
        match self {
            Self::Create => vec!["create", "-b", b.path(), &b.id],
            Self::Start => vec!["start", &b.id],
            Self::State => vec!["state", &b.id],
            Self::Harmless => vec!["kill", &b.id, "0"],
            Self::Kill => vec!["kill", &b.id, "KILL"],
            Self::Delete => vec!["delete", &b.id],
            Self::Force => vec!["delete", "--force", &b.id],
        }
    }
}

/// What there is of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Absent,
    Created,
    Running,
    Stopped,
}

impl Model {
    /// The state after an operation that has to work; `None` if it has to fail and change nothing.
    fn after(self, op: Op) -> Option<Self> {
        use Model::{Absent, Created, Running, Stopped};
        match (op, self) {
            (Op::Create, Absent) => Some(Created),
            (Op::Start, Created) => Some(Running),
            (Op::State, Created | Running | Stopped) | (Op::Harmless, Created | Running) => Some(self),
            (Op::Kill, Created | Running) => Some(Stopped),
            // runc's callers delete what they have created and not started.
            (Op::Delete, Created | Stopped) | (Op::Force, _) => Some(Absent),
            _ => None,
        }
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Created => Some("created"),
            Self::Running => Some("running"),
            Self::Stopped => Some("stopped"),
        }
    }

    fn holds(self, case: &Case, b: &Bundle) {
        match self.word() {
            Some(word) => case.until(&b.id, word),
            None => drop(case.call(["state", &b.id]).finish().fails(&["does not exist"])),
        }
    }
}

#[test]
fn any_sequence_of_verbs_does_what_the_model_says() {
    let case = case!();
    let mut random = Random::begin();
    let bundles: Vec<Bundle> = (0..3).map(|_| case.script("sleep 100", |_| {})).collect();
    let mut models = [Model::Absent; 3];
    let end = Instant::now() + Duration::from_secs(3);
    let mut done = BTreeMap::<Op, [u32; 2]>::new();
    while Instant::now() < end {
        let which = random.below(3);
        let (b, model) = (&bundles[which], &mut models[which]);
        let op = OPS[random.below(OPS.len())];
        let outcome = case.call(op.line(b)).finish();
        match model.after(op) {
            Some(next) => {
                assert_eq!(outcome.code(), 0, "{op:?} of {model:?}: {outcome}");
                *model = next;
            }
            None => assert_eq!(outcome.code(), 1, "{op:?} of {model:?}: {outcome}"),
        }
        done.entry(op).or_default()[usize::from(outcome.code() == 0)] += 1;
        model.holds(&case, b);
    }
    println!("failed and done: {done:?}");
    bundles.iter().for_each(|b| case.delete(&b.id));
    nothing_is_left(&case, "by the sequence");
}

/// What a verb that comes in the wrong moment may say. Anything else is a race that shows.
const EXCUSES: [&str; 8] = [
    "already exists",
    "does not exist",
    "cannot start container",
    "init has ended before it became the program",
    "container not running",
    "that is not stopped",
    "nothing is recorded of it yet",
    // A created container is killed before `create` has answered.
    "init has ended unexpectedly: killed by",
];

/// Several commands at work on one id at any time.
struct Crowd<'c> {
    case: &'c Case,
    at_work: Vec<(Op, Running)>,
    /// How often an operation has worked.
    worked: BTreeMap<Op, i32>,
    unexpected: Vec<String>,
}

impl Crowd<'_> {
    fn step(&mut self, random: &mut Random, b: &Bundle) {
        const AT_ONCE: usize = 6;
        // No delete --force here: it works whether there is something to delete or not.
        let ops = &OPS[..OPS.len() - 1];
        while self.at_work.len() < AT_ONCE {
            let op = ops[random.below(ops.len())];
            self.at_work.push((op, self.case.call(op.line(b)).spawn()));
        }
        self.collect();
        std::thread::sleep(Duration::from_millis(1));
    }

    fn collect(&mut self) {
        for at in (0..self.at_work.len()).rev() {
            if self.at_work[at].1.ended() {
                self.end(at);
            }
        }
    }

    fn end(&mut self, at: usize) {
        let (op, running) = self.at_work.swap_remove(at);
        let done = running.wait();
        match done.code() {
            0 => *self.worked.entry(op).or_default() += 1,
            _ if EXCUSES.iter().any(|words| done.stderr().contains(words)) => {}
            _ => self.unexpected.push(done.to_string()),
        }
    }

    fn worked(&self, op: Op) -> i32 {
        self.worked.get(&op).copied().unwrap_or(0)
    }
}

#[test]
fn verbs_that_run_at_the_same_time_on_one_id_take_effect_one_after_the_other() {
    let case = case!();
    let mut random = Random::begin();
    let b = case.script("sleep 100", |_| {});
    let mut crowd =
        Crowd { case: &case, at_work: Vec::new(), worked: BTreeMap::new(), unexpected: Vec::new() };
    // On a busy machine there are few races in three seconds.
    let (enough, at_last) =
        (Instant::now() + Duration::from_secs(3), Instant::now() + Duration::from_secs(60));
    while Instant::now() < enough || crowd.worked(Op::Delete) < 3 && Instant::now() < at_last {
        crowd.step(&mut random, &b);
    }
    while !crowd.at_work.is_empty() {
        crowd.end(0);
    }
    println!("worked: {:?}", crowd.worked);
    assert!(crowd.unexpected.is_empty(), "{}", crowd.unexpected.join("\n"));
    // Each create makes one, each delete takes one away: what is left is what there is.
    let left = crowd.worked(Op::Create) - crowd.worked(Op::Delete);
    assert!(crowd.worked(Op::Delete) >= 3, "no race to speak of: {:?}", crowd.worked);
    assert!(crowd.worked(Op::Start) <= crowd.worked(Op::Create), "{:?}", crowd.worked);
    let there = case.call(["list", "-q"]).finish().ok().lines();
    assert_eq!(there, vec![b.id.clone(); usize::try_from(left).unwrap()], "{:?}", crowd.worked);
    case.delete(&b.id);
    nothing_is_left(&case, "by the race");
}
