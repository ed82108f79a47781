//! proc_pid_mountinfo(5), as a container prints it.

use super::Done;

/// One mount.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) root: String,
    pub(crate) at: String,
    pub(crate) options: Vec<String>,
    /// `shared:1`, `master:2`, `unbindable`.
    pub(crate) propagation: Vec<String>,
    pub(crate) fstype: String,
    pub(crate) source: String,
    pub(crate) superblock: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Self {
        let words = |text: &str, by: char| {
            text.split(by).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (left, right) = line.split_once(" - ").unwrap();
        let (left, right) = (words(left, ' '), words(right, ' '));
        Self {
            root: left[3].clone(),
            at: left[4].clone(),
            options: words(&left[5], ','),
            propagation: left[6..].to_vec(),
            fstype: right[0].clone(),
            source: right[1].clone(),
            superblock: words(&right[2], ','),
        }
    }

    /// Whether it has all of these options, and with `!` in front has them not.
    pub(crate) fn has(&self, options: &str) -> bool {
        options.split_whitespace().all(|option| match option.strip_prefix('!') {
            Some(absent) => !self.options.iter().any(|o| o == absent),
            None => self.options.iter().any(|o| o == option),
        })
    }

    /// Private, shared, slave or unbindable.
    pub(crate) fn kind(&self) -> &'static str {
        let is = |word: &str| self.propagation.iter().any(|p| p.starts_with(word));
        match (is("shared:"), is("master:"), is("unbindable")) {
            (true, false, false) => "shared",
            (false, true, false) => "slave",
            (true, true, false) => "slave and shared",
            (false, false, true) => "unbindable",
            _ => "private",
        }
    }
}

/// What `cat /proc/self/mountinfo` has printed, and other lines left out.
pub(crate) fn mounts(done: &Done) -> Vec<Mount> {
    done.lines().iter().filter(|line| line.contains(" - ")).map(|line| Mount::parse(line)).collect()
}

/// The uppermost mount at a place.
#[track_caller]
pub(crate) fn mount_at(done: &Done, at: &str) -> Mount {
    mounts(done)
        .into_iter()
        .rfind(|mount| mount.at == at)
        .unwrap_or_else(|| panic!("nothing is mounted at {at}: {done}"))
}
