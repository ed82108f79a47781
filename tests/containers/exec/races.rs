//! Many at once, killed at any point, and meeting other verbs.

use std::time::{Duration, Instant};

use super::{exec, running, sh};
use crate::support::bundle::{Bundle, set_namespace};
use crate::support::{Case, Running, case, eventually, installed, need, nothing_is_left, read, within};

fn pids(case: &Case, b: &Bundle) -> usize {
    case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout().matches(',').count() + 1
}

#[track_caller]
fn alone(case: &Case, b: &Bundle, after: &str) {
    eventually(&format!("the container is alone {after}"), || pids(case, b) == 1);
}

#[test]
fn two_hundred_at_once_all_run() {
    let case = case!();
    let b = running(&case, |_| {});
    for _ in 0..4 {
        let running: Vec<Running> = (0..50)
            .map(|n| exec(&case, &[&b.id, "/bin/sh", "-c", &format!("echo {n}; exit {}", n % 100)]).spawn())
            .collect();
        for (n, run) in running.into_iter().enumerate() {
            let done = run.wait();
            assert_eq!((done.code(), done.stdout()), (i32::try_from(n).unwrap(), format!("{n}\n")), "{done}");
        }
    }
    alone(&case, &b, "after them");
    case.delete(&b.id);
}

#[test]
fn one_that_is_killed_at_any_time_leaves_nothing() {
    let case = case!();
    for share_pids in [false, true] {
        let b = running(&case, |config| {
            if share_pids {
                set_namespace(config, "pid", None);
            }
        });
        let began = Instant::now();
        sh(&case, &[], &b, "true").ok();
        let whole = began.elapsed();
        for n in 0..80u32 {
            // A program that ends by itself, should it come so far: to kill exec is not to kill what it has started.
            let run = exec(&case, &["-d", &b.id, "/bin/true"]).spawn();
            std::thread::sleep(whole * n / 70);
            drop(run);
            alone(&case, &b, &format!("killed after {n}/70 of its time"));
        }
        sh(&case, &[], &b, "echo still").prints("still\n");
        case.delete(&b.id);
        nothing_is_left(&case, "by those that were killed");
    }
}

#[test]
fn one_that_is_killed_at_each_of_its_system_calls_leaves_nothing() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = running(&case, |_| {});
    let (log, line) = (case.path("trace"), ["exec", "-d", &b.id, "/bin/true"]);
    let trace = ["strace", "-D", "-f", "-qq", "-o", log.to_str().unwrap()];
    case.call_through(&trace, line).finish().ok();
    alone(&case, &b, "after the trace");
    let mut names: Vec<String> = Vec::new();
    for line in read(&log).lines() {
        let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        let name: String = call.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if call.contains('(') && !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    assert!(names.len() > 30, "{names:?}");
    let mut killed = 0;
    for name in &names {
        for k in [1, 2, 4] {
            let (of, inject) = (format!("trace={name}"), format!("inject={name}:signal=KILL:when={k}"));
            let with = ["strace", "-D", "-f", "-qq", "-e", &of, "-e", &inject, "-o", log.to_str().unwrap()];
            killed += u32::from(case.call_through(&with, line).finish().code() != 0);
            alone(&case, &b, &inject);
        }
    }
    assert!(killed > 40, "{killed}");
    case.delete(&b.id);
    nothing_is_left(&case, "by those that were killed");
}

#[test]
fn a_container_that_is_deleted_meanwhile_is_gone_and_exec_says_so() {
    let case = case!();
    for n in 0..60u32 {
        let share_pids = n % 2 == 0;
        let b = running(&case, |config| {
            if share_pids {
                set_namespace(config, "pid", None);
            }
        });
        let runs: Vec<Running> = (0..3).map(|_| exec(&case, &[&b.id, "/bin/sleep", "100"]).spawn()).collect();
        std::thread::sleep(Duration::from_micros(200) * n);
        case.call(["delete", "-f", &b.id]).finish().ok();
        for run in runs {
            let done = run.wait();
            match done.code() {
                137 => {}
                255 => {
                    let text = done.stderr();
                    let known = ["container not running", "does not exist"];
                    assert!(
                        known.iter().any(|words| text.contains(words)) && text.lines().count() == 1,
                        "{done}"
                    );
                }
                _ => panic!("{done}"),
            }
        }
        nothing_is_left(&case, "after delete");
    }
}

#[test]
fn a_container_that_dies_meanwhile_is_named() {
    let case = case!();
    for n in 0..40u32 {
        let b = running(&case, |_| {});
        let run = exec(&case, &[&b.id, "/bin/sleep", "100"]).spawn();
        std::thread::sleep(Duration::from_micros(150) * n);
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        let done = run.wait();
        assert!(
            done.code() == 137 || done.code() == 255 && done.stderr().contains("container not running"),
            "{done}"
        );
        case.delete(&b.id);
    }
}

#[test]
fn a_container_that_is_paused_meanwhile_takes_it_or_refuses_it() {
    let case = case!();
    let b = running(&case, |_| {});
    for n in 0..25u32 {
        let mut run = exec(&case, &[&b.id, "/bin/true"]).spawn();
        std::thread::sleep(Duration::from_micros(200) * n);
        case.call(["pause", &b.id]).finish().ok();
        // Either it has come so far that it stands still with the others, or it is refused in a moment.
        within(Duration::from_millis(1500), || run.ended());
        case.call(["resume", &b.id]).finish().ok();
        let done = run.wait();
        assert!(
            done.code() == 0 || done.code() == 255 && done.stderr().contains("paused container"),
            "{done}"
        );
        alone(&case, &b, "after it");
    }
    case.delete(&b.id);
}

#[test]
fn what_is_left_of_a_caller_that_is_killed_is_its_program() {
    let case = case!();
    let b = running(&case, |_| {});
    let run = exec(&case, &[&b.id, "/bin/sh", "-c", "echo here; exec sleep 100"]).spawn();
    // Until it has told its caller of itself it ends with that.
    eventually("it runs", || run.stdout() == "here\n");
    drop(run);
    let left = case.call(["ps", &b.id]).finish().ok().stdout();
    assert_eq!(left.lines().filter(|line| line.contains("sleep")).count(), 2, "{left}");
    case.delete(&b.id);
    nothing_is_left(&case, "by delete");
}
