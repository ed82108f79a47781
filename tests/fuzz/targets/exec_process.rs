//! `exec --process`: a process and what a container keeps for it become a plan or an error; and what is kept is read as
//! it was written.

use minidocker_oci::plan::HostFacts;
use minidocker_oci::plan::exec::{Asked, compile, process};
use minidocker_oci::spec::for_exec::ForExec;
use minidocker_oci::spec::parse_process;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let given = match parse_process(data) {
        Ok(given) => given,
        Err(error) => return says_something(&error),
    };
    let kept = ForExec::of(Some(given.clone()), 0);
    let bytes = kept.to_bytes(Some(data)).unwrap();
    assert_eq!(ForExec::parse(&bytes).unwrap(), (kept.clone(), data), "it is not what was written");
    let asked = Asked::Process(Box::new(given.clone()));
    let planned =
        process(&kept, &asked).and_then(|process| compile(&kept, &asked, &process, HostFacts::default()));
    match planned {
        Ok(plan) => {
            assert_eq!((plan.process.uid, plan.process.gid), (given.user().uid(), given.user().gid()));
            assert!(!plan.process.args.is_empty() && plan.process.cwd.is_in("/"));
        }
        Err(error) => says_something(&error),
    }
}
