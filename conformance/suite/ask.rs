//! The questions at the end of a draft: whether it runs, what is seen inside, how it is refused.

use serde_json::{Value, json};

use crate::clause::{Outcome, Stop, fail, same};
use crate::container::Container;
use crate::draft::Draft;
use crate::seen::{Seen, includes};

impl<'l> Draft<'l> {
    /// A created container.
    pub(crate) fn create(self) -> Result<Container<'l>, Stop> {
        self.save()?.create()
    }

    /// A container whose program has been started.
    pub(crate) fn start(self) -> Result<Container<'l>, Stop> {
        let container = self.create()?;
        container.start()?;
        Ok(container)
    }

    /// What the program has seen on a terminal, from a container that is gone.
    pub(crate) fn report_on_terminal(self) -> Result<Seen, Stop> {
        let (container, console) = self.with("process/terminal", true).save()?.create_on_terminal()?;
        container.start()?;
        let seen = console.seen()?;
        container.end()?;
        container.delete()?;
        Ok(seen)
    }

    /// What the program has seen, from a container that is gone.
    pub(crate) fn report(self) -> Result<Seen, Stop> {
        let container = self.start()?;
        let code = container.end()?;
        let seen = container.seen();
        container.delete()?;
        same("the exit code of the program", code, 0)?;
        seen
    }

    /// It has to run, and the program to see what this looks at.
    pub(crate) fn inside(self, look: impl FnOnce(&Seen) -> Outcome) -> Outcome {
        look(&self.report()?)
    }

    /// It has to run, and this to be at that path of the report.
    pub(crate) fn sees(self, path: &str, wanted: impl Into<Value>) -> Outcome {
        self.report()?.is(path, wanted)
    }

    /// It has to run.
    pub(crate) fn runs(self) -> Outcome {
        self.report().map(drop)
    }

    /// It has to run, and stat(2) of a path to tell this: `json!({"kind": "c", "major": 1})`.
    pub(crate) fn finds(self, path: &str, wanted: Value) -> Outcome {
        let seen = self.ask("stat", path).report()?;
        includes(path, &seen["stat"][path], &wanted)
    }

    /// It has to run, and a file to have this content.
    pub(crate) fn reads(self, path: &str, wanted: impl Into<Value>) -> Outcome {
        let seen = self.ask("read", path).report()?;
        includes(path, &seen["read"][path], &wanted.into())
    }

    /// It has to run, and open(2) of a path (r, w, rw, x for a new file) to end with this errno, or well.
    pub(crate) fn opens(self, how: &str, path: &str, errno: Option<&str>) -> Outcome {
        let seen = self.ask("open", json!([path, how])).report()?;
        let key = format!("{how}:{path}");
        includes(&format!("opening {key}"), &seen["open"][&key], &json!(errno))
    }

    /// `create` has to fail, and to leave nothing. The words (`cwd|directory`) tell whether its message is
    /// about the right thing, which the specification does not ask for: the table shows it.
    pub(crate) fn refused(self, words: &str) -> Outcome {
        let bundle = self.save()?;
        let done = bundle.try_create()?;
        if done.code() == 0 {
            return fail("create has accepted it");
        }
        bundle.lab.knows_nothing_of(&bundle.id)?;
        bundle.lab.note_refusal(&done, words);
        Ok(())
    }

    /// `create` has to fail, or `start`: what is about the process may be found out then.
    pub(crate) fn fails(self, words: &str) -> Outcome {
        let bundle = self.save()?;
        let mut done = bundle.try_create()?;
        if done.code() == 0 {
            let container = Container::of(bundle, &done)?;
            done = container.try_start()?;
            container.remove()?;
            if done.code() == 0 {
                return fail("create and start have accepted it");
            }
            container.bundle.lab.note_refusal(&done, words);
            return Ok(());
        }
        bundle.lab.note_refusal(&done, words);
        Ok(())
    }

    /// It has to run, and then to end by this signal.
    pub(crate) fn ends_by(self, signal: i32) -> Outcome {
        let container = self.start()?;
        let code = container.end()?;
        container.delete()?;
        same("the exit code of the program", code, 128 + signal)
    }

    /// It has to run, and a system call of the probe to end with this errno, or well.
    pub(crate) fn calls(self, name: &str, (number, words): (i64, &[u64]), errno: Option<&str>) -> Outcome {
        let seen = self.ask("calls", json!([name, number, words])).report()?;
        includes(&format!("the outcome of {name}"), &seen["calls"][name], &json!(errno))
    }
}
