//! The definition of the command line.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Subcommand};

use super::globals::Globals;
use super::verb::Command;

/// What a command line asks for.
#[derive(Debug)]
pub(super) struct Cli {
    pub(super) globals: Globals,
    pub(super) command: Command,
}

impl Cli {
    /// The whole definition.
    pub(super) fn definition() -> clap::Command {
        Self::with_verbs(|_| true)
    }

    /// Each verb gets a copy of every global option, which takes longer than all the rest of parsing. So the words are
    /// tried with the verbs that are among them; what there is to say about those that are wrong, or ask for help, takes
    /// the whole definition.
    pub(super) fn parse(words: &[OsString]) -> Result<Self, clap::Error> {
        let said = |verb: &str| words.iter().any(|word| word == verb);
        Self::parse_by(Self::with_verbs(said), words).or_else(|_| Self::parse_by(Self::definition(), words))
    }

    fn with_verbs(wanted: impl Fn(&str) -> bool) -> clap::Command {
        let mut all = Command::augment_subcommands(clap::Command::default());
        let verbs = all.get_subcommands_mut().filter(|verb| wanted(verb.get_name())).map(std::mem::take);
        Globals::command().subcommands(verbs).subcommand_required(true).arg_required_else_help(true)
    }

    fn parse_by(mut definition: clap::Command, words: &[OsString]) -> Result<Self, clap::Error> {
        let mut matches = definition.try_get_matches_from_mut(words)?;
        let parsed = Globals::from_arg_matches_mut(&mut matches)
            .and_then(|globals| Ok(Self { globals, command: Command::from_arg_matches_mut(&mut matches)? }));
        parsed.map_err(|error| error.format(&mut definition))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use crate::oci::deferred::Deferred;
    use crate::oci::reports::ListFormat;
    use crate::oci::words::parsed;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parsed(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn a_verb_says_what_it_does_and_not_what_its_arguments_are() {
        let mut built = Cli::definition();
        built.build();
        for verb in Cli::definition().get_subcommands() {
            let same = built.find_subcommand(verb.get_name()).unwrap();
            assert_eq!(same.get_about(), verb.get_about());
        }
    }

    #[test]
    fn the_command_lines_of_the_engines_are_understood() {
        for line in [
            "r --systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p --no-pivot id",
            "r --root /r --log /l/log.json --log-format json create --bundle /b --pid-file /p id",
            "r --root=/r --root=/r --systemd-cgroup --systemd-cgroup create -b /b --no-pivot --no-pivot id",
            "r --rootless=true --debug state id",
            "r --rootless auto list --format=json",
            "r create id --bundle /b",
            "r --cgroup-manager disabled create --preserve-fds 2 --console-socket /s id",
            "r --root /r --log /l --log-format json create --bundle /b --pid-file /p --pidfd-socket /s id",
            "r run --bundle /b -no-subreaper --keep id",
            "r run -d --bundle=/b id",
            "r kill --all id 9",
            "r kill -a id TERM",
            "r kill id",
            "r delete --force id",
            "r delete -f id",
            "r spec --rootless --bundle /b",
            "r features",
            "r start id",
            "r exec --pid-file /p --process /f --detach --preserve-fds 1 --console-socket /s id",
            "r --root /r --log /l --log-format json exec --process /f --console-socket /s --detach --pid-file /p id",
            "r --log /l --log-format json exec --process /f --pid-file /p id",
            "r --root=/r --root=/r --systemd-cgroup --systemd-cgroup exec -d --console-socket=/s --tty --pid-file=/p id a -b",
            "r exec --process /f --pidfd-socket /s id",
            "r update --resources=/run/f id",
            "r --root /r --log /l --log-format json update --resources=- id",
            "r --root /r update --resources - id",
            "r pause id",
            "r resume id",
            "r --root /r --log /l/log.json --log-format json events --stats id",
            "r --root /r --log /l/log.json --log-format json events --interval=5s id",
            "r events --interval 1m30s id",
            "r --root /r --log /l/log.json --log-format json --systemd-cgroup pause id",
            "r --root /r --log /l/log.json --log-format json resume id",
            "r --root /r --log /l/log.json --log-format json ps --format json id",
            "r ps --format table id -ef -o pid,args",
            "r checkpoint --image-path /i --work-path /w --leave-running --tcp-established --file-locks --leave-running id",
            "r checkpoint --image-path /i --work-path /w --pre-dump --parent-path ../pre-checkpoint id",
            "r --root /r --log /l --log-format json checkpoint --image-path /i --work-path /w --parent-path ../p \
             --tcp-established --ext-unix-sk --shell-job --page-server 10.0.0.1:27 --file-locks --manage-cgroups-mode soft \
             --empty-ns network --empty-ns network --lazy-pages --status-fd 3 --tcp-skip-in-flight --link-remap --auto-dedup id",
            "r --systemd-cgroup restore --bundle /b --pid-file /p --no-pivot --no-new-keyring --detach --image-path /i \
             --work-path /b --tcp-close --file-locks --lsm-mount-context=x --lsm-profile=selinux:x --console-socket /s id",
            "r restore --image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks \
             --manage-cgroups-mode ignore --empty-ns network --auto-dedup --detach --pid-file /p -no-subreaper --bundle /b id",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_signal_is_positional_and_may_be_a_number() {
        let Command::Kill { id, signal, all } = parse("r kill id 9").unwrap().command else { panic!("kill") };
        assert_eq!((id.as_str(), signal.as_str(), all), ("id", "9", false));
    }

    #[test]
    fn what_follows_the_id_is_for_ps_whatever_it_looks_like() {
        let words = |line: &str| match parse(line).unwrap_or_else(|e| panic!("{line}: {e}")).command {
            Command::Ps(Deferred(args)) => {
                (args.format, args.words.into_iter().map(|w| w.into_string().unwrap()).collect())
            }
            other => panic!("{other:?}"),
        };
        let expected =
            |format, words: &[&str]| (format, words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("r ps id"), expected(ListFormat::Table, &["id"]));
        assert_eq!(words("r ps -f json id"), expected(ListFormat::Json, &["id"]));
        assert_eq!(words("r ps --format=json -- id"), expected(ListFormat::Json, &["id"]));
        assert_eq!(words("r ps id -f json"), expected(ListFormat::Table, &["id", "-f", "json"]));
        assert_eq!(
            words("r ps id --format json --root /x"),
            expected(ListFormat::Table, &["id", "--format", "json", "--root", "/x"])
        );
        assert_eq!(words("r ps id -o pid,comm"), expected(ListFormat::Table, &["id", "-o", "pid,comm"]));
        assert_eq!(words("r ps id aux"), expected(ListFormat::Table, &["id", "aux"]));
    }

    #[test]
    fn rootless_is_a_wish_of_spec_and_a_value_of_the_runtime() {
        let Command::Spec { rootless, .. } = parse("r --rootless=auto spec --rootless").unwrap().command
        else {
            panic!("spec")
        };
        assert!(rootless);
    }

    #[test]
    fn a_verb_without_an_id_is_refused() {
        for verb in [
            "create",
            "run",
            "start",
            "state",
            "kill",
            "delete",
            "pause",
            "resume",
            "ps",
            "update",
            "exec",
            "events",
            "checkpoint",
            "restore",
        ] {
            assert!(parse(&format!("r {verb}")).is_err(), "{verb}");
        }
    }
}
