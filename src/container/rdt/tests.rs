//! On a directory in the place of a resctrl file system, whose files a test makes itself.

use std::path::PathBuf;
use std::process::Command;

use nix::unistd::Pid;

use super::{Group, IntelRdt, RdtRecord, Tree, check};
use crate::error::Result;
use crate::sys::fs::{self, OFlag};

const PID: Pid = Pid::from_raw(4711);

struct Fake {
    dir: PathBuf,
}

impl Fake {
    fn new(name: &str) -> Self {
        let fake = Self { dir: std::env::temp_dir().join(format!("rdt-{}-{name}", std::process::id())) };
        fake.group("");
        fake
    }

    fn tree(&self) -> Tree {
        let root = fs::open(&self.dir, OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
        Tree { root, mounted_at: self.dir.clone() }
    }

    /// What the kernel puts into a group. Written files grow here, so that all that was written is seen.
    fn group(&self, name: &str) {
        self.shell("mkdir -p $1/mon_groups && touch $1/tasks && printf '    L3:0=7ff;1=7ff\\n    MB:0=100;1=100\\n' >$1/schemata", name);
    }

    fn shell(&self, script: &str, name: &str) {
        let status = Command::new("sh").args(["-c", script, "sh"]).arg(self.dir.join(name)).status();
        assert!(status.unwrap().success());
    }

    fn has(&self, name: &str) -> bool {
        self.dir.join(name).symlink_metadata().is_ok()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// All that comes before the container's process.
    fn make(&self, plan: &IntelRdt) -> Result<RdtRecord> {
        let mut record = self.tree().intend(plan)?;
        self.tree().make(plan, &mut record).map(|()| record)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(Command::new("rm").arg("-rf").arg(&self.dir).status());
    }
}

fn plan(group: Group) -> IntelRdt {
    IntelRdt { group, limits: Vec::new(), schemata: Vec::new(), monitor: None }
}

fn own() -> Group {
    Group::Own("web".to_owned())
}

fn named(name: &str) -> Group {
    Group::Named(name.to_owned())
}

fn error<T: std::fmt::Debug>(result: Result<T>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn the_containers_own_group_comes_and_goes_with_it() {
    let fake = Fake::new("own");
    let record = fake.make(&plan(own())).unwrap();
    assert!(fake.has("web"));
    assert_eq!(
        record,
        RdtRecord { own: Some("web".to_owned()), named: None, monitor: None, class: Some("web".into()) }
    );
    fake.tree().remove(&record).unwrap();
    assert!(!fake.has("web"));
    // Once more: it may have been removed by hand.
    fake.tree().remove(&record).unwrap();
}

#[test]
fn a_group_of_the_containers_id_that_is_there_is_somebody_elses() {
    let fake = Fake::new("taken");
    fake.group("web");
    assert!(error(fake.make(&plan(own()))).contains("is there already"));
    assert!(fake.has("web/tasks"));
}

#[test]
fn a_group_that_somebody_makes_meanwhile_is_not_removed() {
    let fake = Fake::new("race");
    let mut record = fake.tree().intend(&plan(own())).unwrap();
    fake.group("web");
    assert!(error(fake.tree().make(&plan(own()), &mut record)).contains("EEXIST"));
    fake.tree().remove(&record).unwrap();
    assert!(fake.has("web/tasks"));
}

#[test]
fn a_named_group_without_a_schema_has_to_be_there() {
    let fake = Fake::new("named");
    let text = error(fake.make(&plan(named("gold"))));
    assert!(text.contains("closID") && text.contains("gold\" is not there"), "{text}");
    assert!(!fake.has("gold"));
    fake.group("gold");
    let before = fake.read("gold/schemata");
    let record = fake.make(&plan(named("gold"))).unwrap();
    assert_eq!(record, RdtRecord { own: None, named: None, monitor: None, class: Some("gold".into()) });
    // Nothing is written where nothing is asked for, and nothing of it is the container's.
    assert_eq!(fake.read("gold/schemata"), before);
    fake.tree().remove(&record).unwrap();
    assert!(fake.has("gold"));
}

#[test]
fn a_named_group_with_a_schema_is_made_where_it_is_missing() {
    let fake = Fake::new("made");
    let wanted = IntelRdt { limits: vec!["L3:0=f".to_owned()], ..plan(named("gold")) };
    let mut record = fake.tree().intend(&wanted).unwrap();
    assert_eq!(record.named.as_deref(), Some("gold"));
    // The directory of a fake has no files: what comes next is the kernel's.
    assert!(error(fake.tree().make(&wanted, &mut record)).contains("gold/schemata"));
    fake.group("gold");
    // A failed create takes it away again, unless somebody is in it by then or that is not known.
    assert!(fake.tree().is_unused("gold"));
    fake.shell("echo 1 >$1/tasks", "gold");
    assert!(!fake.tree().is_unused("gold") && !fake.tree().is_unused("none"));
    fake.tree().remove(&record).unwrap();
    assert!(fake.has("gold"));
}

#[test]
fn limits_are_written_in_their_order_and_each_by_itself() {
    let fake = Fake::new("order");
    fake.group("gold");
    let wanted = IntelRdt {
        limits: vec!["L3:0=07FF;1=7ff".to_owned(), "MB:1=100".to_owned()],
        schemata: vec!["MB:0=20".to_owned(), "L2:0=f".to_owned()],
        ..plan(named("gold"))
    };
    fake.make(&wanted).unwrap();
    assert!(fake.read("gold/schemata").starts_with("L3:0=07FF;1=7ff\nMB:1=100\nMB:0=20\nL2:0=f\n"));
}

#[test]
fn a_group_that_has_other_limits_is_an_error_and_keeps_them() {
    let fake = Fake::new("mismatch");
    fake.group("gold");
    let before = fake.read("gold/schemata");
    for (bad, word) in
        [("L3:0=7f", "L3:0"), ("MB:1=50", "MB:1"), ("L2:0=f", "nothing"), ("L3:2=7ff", "nothing")]
    {
        for group in [named("gold"), Group::Default] {
            let wanted = IntelRdt { limits: vec![bad.to_owned()], ..plan(group) };
            let text = error(fake.make(&wanted));
            assert!(text.contains("it is there already") && text.contains(word), "{text}");
        }
    }
    assert_eq!(fake.read("gold/schemata"), before);
    assert_eq!(fake.read("schemata"), before);
}

#[test]
fn limits_are_compared_by_what_they_mean() {
    let there = "    L3:0=007ff;1=00fff\n    MB:0= 100;1=  20\nL3CODE:0=f\n";
    let same = |wanted: &str| check(there, &[wanted.to_owned()]).is_ok();
    assert!(same("L3:0=7FF") && same("L3:00=7ff;1=fff") && same("MB:1=20;0=100") && same("L3CODE:0=0f;"));
    assert!(!same("L3:0=7fe") && !same("MB:0=10") && !same("L3DATA:0=f") && !same("L3:0"));
}

#[test]
fn the_process_enters_its_class_and_its_monitoring_group() {
    let fake = Fake::new("tasks");
    fake.group("gold");
    let wanted = IntelRdt { monitor: Some("web".to_owned()), ..plan(named("gold")) };
    let record = fake.make(&wanted).unwrap();
    assert_eq!(record.monitor.as_deref(), Some("gold/mon_groups/web".as_ref()));
    assert!(fake.has("gold/mon_groups/web"));
    fake.shell("touch $1/tasks", "gold/mon_groups/web");
    fake.tree().enter(&wanted, &record, PID).unwrap();
    assert_eq!(fake.read("gold/tasks"), "4711");
    assert_eq!(fake.read("gold/mon_groups/web/tasks"), "4711");
    fake.shell("rm $1/tasks", "gold/mon_groups/web");
    fake.tree().remove(&record).unwrap();
    assert!(!fake.has("gold/mon_groups/web") && fake.has("gold"));
}

#[test]
fn the_default_group_is_the_root() {
    let fake = Fake::new("root");
    let wanted = IntelRdt { monitor: Some("web".to_owned()), ..plan(Group::Default) };
    let record = fake.make(&wanted).unwrap();
    assert!(fake.has("mon_groups/web"));
    fake.shell("touch $1/tasks", "mon_groups/web");
    fake.tree().enter(&wanted, &record, PID).unwrap();
    assert_eq!(
        (fake.read("tasks"), fake.read("mon_groups/web/tasks")),
        ("4711".to_owned(), "4711".to_owned())
    );
}

#[test]
fn a_monitoring_group_that_can_not_be_made_is_an_error() {
    let fake = Fake::new("monitor");
    let wanted = IntelRdt { monitor: Some("web".to_owned()), ..plan(Group::Default) };
    fake.shell("mkdir $1", "mon_groups/web");
    assert!(error(fake.make(&wanted)).contains("mon_groups/web\" is there already"));
    // No monitoring at all.
    fake.shell("rm -r $1", "mon_groups");
    assert!(error(fake.make(&wanted)).starts_with("enableMonitoring: "));
}

#[test]
fn what_the_kernel_says_about_a_refusal_is_passed_on() {
    let fake = Fake::new("status");
    fake.shell("mkdir $1 && echo 'Mask f000 out of range' >$1/last_cmd_status", "info");
    assert_eq!(fake.tree().explanation(), "Mask f000 out of range");
    fake.shell("echo ok >$1/last_cmd_status", "info");
    assert_eq!(fake.tree().explanation(), "refused");
}

#[test]
fn a_link_in_the_place_of_a_group_is_not_followed() {
    let fake = Fake::new("link");
    fake.shell("ln -s mon_groups $1", "gold");
    assert!(fake.make(&plan(named("gold"))).is_err());
}

#[test]
fn an_update_changes_the_class_that_the_container_is_in() {
    let fake = Fake::new("update");
    fake.group("gold");
    let before = fake.read("schemata");
    let record = fake.make(&plan(named("gold"))).unwrap();
    let limits = ["L3:0=f".to_owned(), "MB:0=20".to_owned()];
    fake.tree().change(&record, &limits).unwrap();
    assert!(fake.read("gold/schemata").starts_with("L3:0=f\nMB:0=20\n"));
    assert_eq!(fake.read("schemata"), before);
    let default = fake.make(&plan(Group::Default)).unwrap();
    fake.tree().change(&default, &limits).unwrap();
    assert!(fake.read("schemata").starts_with("L3:0=f\nMB:0=20\n"));
    let older = RdtRecord { class: None, ..record };
    assert!(error(fake.tree().change(&older, &limits)).contains("its class is not recorded"));
}

#[test]
fn a_class_is_told_with_its_schemata_and_what_is_counted() {
    let fake = Fake::new("statistics");
    fake.group("class");
    let record = |monitor: Option<&str>| RdtRecord {
        own: None,
        named: None,
        monitor: monitor.map(PathBuf::from),
        class: Some("class".into()),
    };
    let told = fake.tree().statistics(&record(None)).unwrap();
    assert_eq!(told.schemata, ["L3:0=7ff;1=7ff", "MB:0=100;1=100"]);
    assert_eq!(told.l3_cache_schema.as_deref(), Some("L3:0=7ff;1=7ff"));
    assert_eq!(told.mem_bw_schema.as_deref(), Some("MB:0=100;1=100"));
    assert!(told.monitoring.is_empty());
    let domain = "mkdir -p $1 && echo 4096 >$1/llc_occupancy && echo Unavailable >$1/mbm_total_bytes";
    fake.shell(domain, "class/mon_groups/c/mon_data/mon_L3_00");
    let told = fake.tree().statistics(&record(Some("class/mon_groups/c"))).unwrap();
    assert_eq!(told.monitoring["mon_L3_00"], [("llc_occupancy".to_owned(), 4096)].into());
    assert_eq!(
        fake.tree().statistics(&RdtRecord { class: None, ..record(None) }).unwrap(),
        Default::default()
    );
}
