//! Mount options: the words of config.md, "Linux mount options", as mount attributes, superblock
//! parameters and propagation. Words that are not in the tables are the file system's own.

mod parameters;
mod words;

use crate::error::{Result, invalid};
use crate::sys::mount::{Depth, MountAttr, attr};
pub use parameters::{LONGEST_VALUE, Parameter};
use words::{WORDS, Word};

/// What becomes of a bind whose source is a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// What it leads to is bound.
    #[default]
    Followed,
    /// The link itself is: `src-nofollow`.
    Bound,
    /// The container gets a link like it: `copy-symlink`. What is no link is bound.
    Copied,
}

/// `idmap` or `ridmap`: whose ids the mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedIds {
    /// Whether the mounts below are mapped, too.
    pub depth: Depth,
    /// What follows `=`, which is crun's own: `uids=0-1-10#10-11-10;gids=0-100-10`.
    pub text: Option<String>,
}

/// mount_namespaces(7), in the eight words of rootfsPropagation and of mount options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE.
    pub mode: u64,
    /// The `r` in front: for all mounts below too.
    pub recursive: bool,
}

impl Propagation {
    /// `private`, `rprivate`, `slave`, ...
    pub fn parse(word: &str) -> Option<Self> {
        let (recursive, base) = match word.strip_prefix('r') {
            Some(base) => (true, base),
            None => (false, word),
        };
        let mode = match base {
            "private" => libc::MS_PRIVATE,
            "slave" => libc::MS_SLAVE,
            "shared" => libc::MS_SHARED,
            "unbindable" => libc::MS_UNBINDABLE,
            _ => return None,
        };
        Some(Self { mode, recursive })
    }

    /// What a mount gets that says nothing: nothing travels between host and container.
    pub const NONE: Self = Self { mode: libc::MS_PRIVATE, recursive: true };
}

const PROPAGATION_WORDS: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// The options that work, sorted, as `features` lists them.
pub fn known() -> Vec<&'static str> {
    let words = WORDS.iter().filter(|(name, _)| !name.is_empty());
    let mut names: Vec<_> = words.map(|(name, _)| *name).chain(PROPAGATION_WORDS).collect();
    names.sort_unstable();
    names
}

/// The options of one mount, told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// For the mount itself.
    pub attr: MountAttr,
    /// For the mount and all below it.
    pub attr_below: MountAttr,
    /// `bind` or `rbind` was among them.
    pub bind: Option<Depth>,
    /// `remount` was among them.
    pub remount: bool,
    /// `tmpcopyup` was among them: a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// `idmap` or `ridmap` was among them.
    pub ids: Option<WantedIds>,
    /// `src-nofollow` or `copy-symlink` was among them.
    pub links: Links,
    /// `dest-nofollow` was among them: a destination that is a symbolic link is itself covered.
    pub over_link: bool,
    /// In the order in which they were given.
    pub propagation: Vec<Propagation>,
    /// Superblock flags and the file system's own parameters.
    pub parameters: Vec<Parameter>,
}

impl Options {
    /// Sorts the words; later ones win.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self> {
        let mut options = Self::default();
        for word in words {
            options.add(word.as_ref())?;
        }
        Ok(options)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(invalid(format!("option {text:?} has a NUL byte")));
        }
        if let Some(propagation) = Propagation::parse(text) {
            self.propagation.push(propagation);
            return Ok(());
        }
        match WORDS.binary_search_by_key(&text, |(name, _)| name) {
            Ok(at) => self.add_word(WORDS[at].1),
            Err(_) => {
                match text.split_once('=') {
                    Some(("idmap", maps)) => self.map_ids(Depth::Top, Some(maps)),
                    Some(("ridmap", maps)) => self.map_ids(Depth::Recursive, Some(maps)),
                    _ => self.parameters.extend(parameters::parse(text)?),
                }
                Ok(())
            }
        }
    }

    fn add_word(&mut self, word: Word) -> Result<()> {
        match word {
            Word::Set(bit) => change(&mut self.attr, bit, 0),
            Word::Clear(bit) => change(&mut self.attr, 0, bit),
            Word::Atime(value) => atime(&mut self.attr, value),
            Word::SetBelow(bit) => change(&mut self.attr_below, bit, 0),
            Word::ClearBelow(bit) => change(&mut self.attr_below, 0, bit),
            Word::AtimeBelow(value) => atime(&mut self.attr_below, value),
            Word::Superblock(key) => self.parameters.push(Parameter::flag(key)),
            Word::NoSuperblock(key) => self.parameters.retain(|p| p.key != key),
            Word::Nothing => {}
            Word::Bind(depth) => self.bind = Some(depth),
            Word::Remount => self.remount = true,
            Word::CopyUp => self.copy_up = true,
            Word::IdMap(depth) => self.map_ids(depth, None),
            Word::Links(links) if ![Links::Followed, links].contains(&self.links) => {
                return Err(invalid("copy-symlink and src-nofollow exclude each other"));
            }
            Word::Links(links) => self.links = links,
            Word::OverLink => self.over_link = true,
        }
        Ok(())
    }

    fn map_ids(&mut self, depth: Depth, text: Option<&str>) {
        self.ids = Some(WantedIds { depth, text: text.map(str::to_owned) });
    }
}

fn change(attr: &mut MountAttr, set: u64, clear: u64) {
    attr.set = attr.set & !clear | set;
    attr.clear = attr.clear & !set | clear;
}

/// mount_setattr(2): the access time field has to be cleared as a whole when it changes.
fn atime(attr: &mut MountAttr, value: u64) {
    attr.set = attr.set & !attr::ATIME | value;
    attr.clear |= attr::ATIME;
}

#[cfg(test)]
mod tests {
    use super::{Depth, Links, Options, Parameter, Propagation, WORDS, WantedIds, attr, known};

    fn parse(words: &[&str]) -> Options {
        Options::parse(words).unwrap()
    }

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(WORDS.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn the_later_of_two_opposite_words_wins() {
        let options = parse(&["ro", "nosuid", "rw"]);
        assert_eq!((options.attr.set, options.attr.clear), (attr::NOSUID, attr::RDONLY));
    }

    #[test]
    fn access_time_is_a_field_and_not_a_set_of_bits() {
        let options = parse(&["noatime", "strictatime"]);
        assert_eq!((options.attr.set, options.attr.clear), (attr::STRICTATIME, attr::ATIME));
    }

    #[test]
    fn words_with_r_reach_below_and_rbind_and_rprivate_are_not_among_them() {
        let options = parse(&["rbind", "rro", "rprivate"]);
        assert_eq!(options.attr_below.set, attr::RDONLY);
        assert_eq!(options.bind, Some(Depth::Recursive));
        assert_eq!(options.propagation, [Propagation::parse("rprivate").unwrap()]);
    }

    #[test]
    fn a_value_without_a_name_is_refused() {
        assert!(Options::parse(&["=relatime"]).is_err());
    }

    #[test]
    fn unknown_words_are_the_file_systems_own_and_empty_ones_are_skipped() {
        let options = parse(&["size=65536k", "", "usrquota", "key=a=b"]);
        let parameter =
            |key: &str, value: Option<&str>| Parameter { key: key.into(), value: value.map(Into::into) };
        let expected =
            [parameter("size", Some("65536k")), parameter("usrquota", None), parameter("key", Some("a=b"))];
        assert_eq!(options.parameters, expected);
    }

    #[test]
    fn opposite_words_of_a_superblock_take_each_other_back() {
        assert_eq!(parse(&["sync", "lazytime", "async", "nolazytime"]).parameters, []);
        assert_eq!(parse(&["async", "sync"]).parameters, [Parameter::flag("sync")]);
    }

    #[test]
    fn ids_are_asked_for_with_or_without_maps_of_their_own() {
        let ids = |word: &str| parse(&[word]).ids.unwrap();
        assert_eq!(ids("idmap"), WantedIds { depth: Depth::Top, text: None });
        assert_eq!(
            ids("ridmap=uids=0-1-2;gids=0-1-2"),
            WantedIds { depth: Depth::Recursive, text: Some("uids=0-1-2;gids=0-1-2".into()) }
        );
    }

    #[test]
    fn a_link_is_bound_or_copied_and_not_both() {
        assert_eq!(parse(&["src-nofollow", "src-nofollow"]).links, Links::Bound);
        assert!(Options::parse(&["copy-symlink", "src-nofollow"]).is_err());
        assert!(parse(&["dest-nofollow"]).over_link);
    }

    #[test]
    fn all_mandatory_options_of_config_md_are_known() {
        let mandatory = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev \
            nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro \
            rprivate rshared rslave runbindable rw shared silent slave strictatime suid sync unbindable";
        let known = known();
        assert_eq!(mandatory.split_whitespace().filter(|w| !known.contains(w)).count(), 0);
    }
}
