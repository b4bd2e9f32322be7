//! What the kernel traces is read again: by `replay`, which makes the same calls of it, by `trace-cmd`, and as the JSON that it
//! is said to be.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use boot::places;
use boot::suites::host_program::leave_out;
use serde_json::Value;

/// Some of each family of calls, on both CPUs.
const WORKLOAD: &str =
    "test_vmalloc run_test_mask=1041 test_loop_count=60 nr_threads=2; vmap_loop nr_pages=600 loops=20";

fn run_sh(words: &[&str]) -> Output {
    let mut command = Command::new(places::root().join("run.sh"));
    let output = command.args(words).current_dir(places::root()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {}\n{said}", output.status);
    output
}

/// How often each kind of event is in a trace, and pages that were asked for in vmap and vm_map_ram.
fn count(trace: &str) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for line in trace.lines().filter(|line| !line.starts_with('#')) {
        let (_, event) = line.split_once("] ..... ").unwrap_or_else(|| panic!("{line}"));
        let mut words = event.trim_start().splitn(3, ": ");
        let (_, name, fields) = (words.next(), words.next().unwrap(), words.next().unwrap_or_default());
        *counts.entry(name.to_owned()).or_insert(0) += 1;
        if let Some((_, pages)) = fields.split_once("count=") {
            *counts.entry(format!("{name} pages")).or_insert(0) += pages.parse::<u64>().unwrap();
        }
        if let Some((_, size)) = fields.split_once("size=").filter(|_| name == "valloc") {
            let size: u64 = size.split(' ').next().unwrap().parse().unwrap();
            *counts.entry(format!("{name} pages")).or_insert(0) += size.div_ceil(4096);
        }
    }
    counts
}

/// Replays a trace, and compares what was done with what the trace tells.
fn replay(trace: &Path, counts: &HashMap<String, u64>) {
    let json = trace.with_extension("json");
    run_sh(&["replay", trace.to_str().unwrap(), "--json", json.to_str().unwrap()]);
    let measured: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let figures = &measured["replayed"];
    assert!(
        figures["recording"]["samples"].as_array().is_some_and(|samples| samples.len() > 10),
        "{figures:#}"
    );
    let here: HashMap<_, _> = figures["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["here"].as_u64()))
        .collect();
    let skipped = &figures["skipped"];
    assert_eq!((&skipped["lost"], &skipped["unpaired"]), (&0.into(), &0.into()), "{skipped}");
    for (row, event) in [
        ("vmalloc", "valloc"),
        ("vmap", "vmap"),
        ("vm_map_ram", "vm_map_ram"),
        ("vm_unmap_ram", "vm_unmap_ram"),
        ("vm_unmap_aliases", "vm_unmap_aliases"),
        ("pages of vmalloc", "valloc pages"),
        ("pages of vmap", "vmap pages"),
        ("pages of vm_map_ram", "vm_map_ram pages"),
    ] {
        assert_eq!(here[row], Some(counts.get(event).copied().unwrap_or(0)), "{row}: {figures:#}");
    }
    // But those of what was there before.
    let freed = here["vfree"].unwrap() + here["vunmap"].unwrap();
    let told = counts["vfree"] + counts.get("vunmap").copied().unwrap_or(0);
    assert_eq!(freed + skipped["unknown"].as_u64().unwrap(), told, "{figures:#}");
    assert_eq!(here["failures"], Some(0));
}

/// Makes `trace.dat` of a trace, of which `trace-cmd report` says what the trace says; where there is no trace-cmd, that is left
/// out.
fn report(trace: &Path, text: &str) {
    let file = trace.with_extension("dat");
    run_sh(&["trace", trace.to_str().unwrap(), "--out", file.to_str().unwrap()]);
    let Ok(report) = Command::new("trace-cmd").args(["report", "-i"]).arg(&file).output() else {
        leave_out("there is no trace-cmd");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&report.stderr), "");
    let report = String::from_utf8(report.stdout).unwrap();
    let (_, cpus) = text.lines().find_map(|line| line.split_once("#P:")).expect("how many CPUs there are");
    assert!(report.lines().any(|line| line == format!("cpus={cpus}")), "{report}");
    // Both have other spaces, and the text has flags.
    let words = |line: &str| {
        let (task, rest) = line.trim().split_once('[')?;
        let words = rest.split_whitespace().filter(|word| *word != ".....");
        // The one event whose name is another, of two that have one name in the text.
        let words: Vec<_> = words.map(|word| word.replace("vmalloc_flush_all:", "vmalloc_flush:")).collect();
        Some((task.trim().to_owned(), words.join(" ")))
    };
    let told: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).filter_map(words).collect();
    let reported: Vec<_> = report.lines().filter_map(words).collect();
    let differ = told.iter().zip(&reported).find(|(told, reported)| told != reported);
    assert_eq!((differ, told.len()), (None, reported.len()));
}

/// All that is streamed and all that is dumped makes the same calls again, which are those of the workload. Seen failing with
/// the probes on vmap left out, and with a stream that does not tell how many CPUs there are.
#[test]
fn what_is_traced_here_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let streamed = run_sh(&["exec", "--cpus", "3", &format!("trace stream; {WORKLOAD}; trace off")]);
    let said = String::from_utf8_lossy(&streamed.stderr).into_owned();
    let file =
        said.lines().find_map(|line| line.split_once("the events are in ")).expect("the file is named").1;
    let stream = folder.path().join("stream.trace");
    fs::rename(file, &stream).or_else(|_| fs::copy(file, &stream).map(drop)).unwrap();
    let text = fs::read_to_string(&stream).unwrap();
    let events = text.lines().last().and_then(|line| line.strip_prefix("# ")).expect("the end is there");
    let printed = String::from_utf8_lossy(&streamed.stdout).into_owned();
    let number = events.split(' ').next().unwrap();
    assert!(printed.contains(&format!("{number} events were written, 0 were lost")), "{events}: {printed}");
    let counts = count(&text);
    // Two threads, two cases of 60 areas each, and the threads' own.
    assert!(counts["valloc"] >= 240 && counts["vm_map_ram"] == 120 && counts["vmap"] == 20, "{counts:?}");
    assert_eq!(counts["valloc"], counts["valloc_ret"]);
    report(&stream, &text);
    replay(&stream, &counts);

    let dumped = run_sh(&["exec", &format!("trace on; {WORKLOAD}; trace off; trace dump format=ftrace")]);
    let printed = String::from_utf8(dumped.stdout).unwrap();
    let (_, text) = printed.split_once("# tracer: nop\n").expect("a trace is printed");
    let dump = folder.path().join("dump.trace");
    fs::write(&dump, text).unwrap();
    let dumped = count(text);
    for event in ["valloc", "valloc pages", "vfree", "vm_map_ram", "vm_map_ram pages", "vm_unmap_ram"] {
        assert_eq!(dumped.get(event), counts.get(event), "{event}: {dumped:?} {counts:?}");
    }
    replay(&dump, &dumped);
}

/// Seen failing with a comma behind the last event.
#[test]
fn what_is_dumped_for_perfetto_is_json_of_its_form() {
    let output = run_sh(&["exec", "trace on; vmalloc 70000; trim; trace off; trace dump format=perfetto"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let (_, json) = printed.split_once('\n').expect("an address is printed first");
    let trace: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let events = trace["traceEvents"].as_array().unwrap();
    for event in events {
        assert!(event["name"].is_string() && event["pid"].is_u64() && event["args"].is_object(), "{event}");
        match event["ph"].as_str() {
            Some("M") => {}
            Some("X") => assert!(event["dur"].is_f64() && event["tid"].is_u64(), "{event}"),
            Some("i") => {
                assert!(event["ts"].is_f64() && event["s"] == "t" && event["tid"].is_u64(), "{event}")
            }
            Some("C") => assert!(event["ts"].is_f64() && event["args"]["pages"].is_u64(), "{event}"),
            other => panic!("{other:?}"),
        }
    }
    let named = |name: &str| events.iter().filter(|event| event["name"] == name).collect::<Vec<_>>();
    let [area] = named("vmalloc")[..] else { panic!("one area: {json}") };
    assert_eq!((&area["args"]["pages"], &area["args"]["size"]), (&18.into(), &70000.into()));
    assert!(area["args"]["caller"].as_str().unwrap().contains("console/play/areas.rs:"), "{area}");
    let purges = named("purge");
    assert!(!purges.is_empty() && purges.iter().all(|purge| purge["args"]["thread"] == "main-1"), "{json}");
    assert!(!named("lazy pages").is_empty() && !named("flush").is_empty(), "{json}");
    assert_eq!(named("thread_name").len(), 2, "a track for each CPU");
}
