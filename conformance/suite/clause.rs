//! A clause: one sentence of the specification, what it needs of the machine, and the case that checks it.

use std::fmt::{self, Display};
use std::path::Path;

use crate::lab::Lab;
use crate::runtime::Runtime;

/// How binding a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// MUST, MUST NOT, REQUIRED and SHALL of the specification.
    Must,
    /// SHOULD, SHOULD NOT and RECOMMENDED of the specification.
    Should,
    /// Not in the specification: what podman, containerd, docker and buildah rely on.
    Callers,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Callers => "callers",
        }
    }
}

/// What a machine or a runtime may lack. A clause that needs it is skipped there, with the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// A controller of cgroup2, such as `memory`.
    Controller(&'static str),
    /// A capability of this process, such as `CAP_SYS_RESOURCE`.
    Capability(&'static str),
    /// Something of the kernel or the machine that has a file.
    File(&'static str),
    /// So many processors that this process may use.
    Processors(usize),
    /// A program in one of the directories of `PATH`.
    Program(&'static str),
    /// A verb that the specification does not ask for.
    Verb(&'static str),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(name) => write!(f, "controller {name}"),
            Self::Capability(name) => f.write_str(name),
            Self::File(path) => f.write_str(path),
            Self::Processors(count) => write!(f, "{count} processors"),
            Self::Program(name) => write!(f, "program {name}"),
            Self::Verb(name) => write!(f, "verb {name}"),
        }
    }
}

impl Need {
    /// Why the machine or the runtime hasn't got it; `None` where it has.
    pub(crate) fn missing(self, runtime: &Runtime) -> Option<String> {
        let (there, reason) = match self {
            Self::Controller(name) => (
                crate::lab::controllers().iter().any(|c| c == name),
                format!("no {name} controller in cgroup2"),
            ),
            Self::Capability(name) => (has_capability(name), format!("this process lacks {name}")),
            Self::File(path) => (Path::new(path).symlink_metadata().is_ok(), format!("no {path}")),
            Self::Processors(count) => (
                std::thread::available_parallelism().is_ok_and(|n| n.get() >= count),
                format!("fewer than {count} processors"),
            ),
            Self::Program(name) => {
                (crate::runtime::look_up(Path::new(name)).is_some(), format!("no program {name}"))
            }
            Self::Verb(name) => (runtime.has_verb(name), format!("{} has no verb {name}", runtime.name)),
        };
        (!there).then_some(reason)
    }
}

fn has_capability(name: &str) -> bool {
    let held = caps::read(None, caps::CapSet::Effective).unwrap_or_default();
    held.iter().any(|capability| capability.to_string() == name)
}

/// Why a case ends before its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The runtime doesn't do as the sentence says.
    Fail(String),
    /// The case can't be tried here. Never a pass.
    Skip(String),
}

/// How a case ends.
pub(crate) type Outcome = Result<(), Stop>;

impl<E: Display> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.to_string())
    }
}

/// A failure with a reason of one line.
pub(crate) fn fail<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(reason.into()))
}

/// The case can't be tried here.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

/// Fails with the reason unless it is so.
pub(crate) fn expect(it_is: bool, reason: impl Into<String>) -> Outcome {
    if it_is { Ok(()) } else { fail(reason) }
}

/// Fails unless both are equal.
pub(crate) fn same<A: PartialEq<B> + Display, B: Display>(what: &str, seen: A, wanted: B) -> Outcome {
    if seen == wanted { Ok(()) } else { fail(format!("{what} is {seen}, not {wanted}")) }
}

/// One sentence and its case.
#[derive(Debug)]
pub(crate) struct Clause {
    /// Unique, of the form `chapter.subject.rule`; what it begins with selects it.
    pub(crate) id: &'static str,
    /// Page and anchor: `config.md#process`.
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    /// The specification's own words, shortened.
    pub(crate) sentence: &'static str,
    pub(crate) needs: &'static [Need],
    /// Why runtimes do something else on purpose. Where a case fails that has this, it counts apart.
    pub(crate) differs: Option<&'static str>,
    pub(crate) case: fn(&Lab<'_>) -> Outcome,
}

/// What follows the id in a declaration: section and sentence.
type Source = (&'static str, &'static str);

const fn clause(level: Level, id: &'static str, source: Source, case: fn(&Lab<'_>) -> Outcome) -> Clause {
    Clause { id, section: source.0, level, sentence: source.1, needs: &[], differs: None, case }
}

/// A MUST of the specification.
pub(crate) const fn must(id: &'static str, source: Source, case: fn(&Lab<'_>) -> Outcome) -> Clause {
    clause(Level::Must, id, source, case)
}

/// A SHOULD of the specification.
pub(crate) const fn should(id: &'static str, source: Source, case: fn(&Lab<'_>) -> Outcome) -> Clause {
    clause(Level::Should, id, source, case)
}

/// What callers rely on.
pub(crate) const fn callers(id: &'static str, source: Source, case: fn(&Lab<'_>) -> Outcome) -> Clause {
    clause(Level::Callers, id, source, case)
}

impl Clause {
    /// With what the machine has to have.
    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// With a reason to do something else than the sentence says. Ours has to, as long as this is here.
    pub(crate) const fn differs(mut self, why: &'static str) -> Self {
        self.differs = Some(why);
        self
    }
}
