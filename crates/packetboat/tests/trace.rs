//! The story of a message, as `packetboat trace` tells it of the real program.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Demo, Sink, foreign};

/// What the command prints, each story a value; its exit code, if it fails.
fn trace(dir: &Path, arguments: &[&str]) -> Result<Vec<Value>, i32> {
    let output = Command::new(env!("CARGO_BIN_EXE_packetboat"))
        .args(["trace", "--json", "--data"])
        .arg(dir.join("data"))
        .args(arguments)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(output.status.code().unwrap());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Sesame"), "the text of the message is nobody's business: {text}");
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn words(story: &Value) -> Vec<String> {
    let word = |event: &Value| {
        let became = event["became"].as_str().map(|it| format!(" {it}")).unwrap_or_default();
        let to = event["to"].as_str().map(|it| format!(" {it}")).unwrap_or_default();
        format!("{}{to}{became}", event["event"].as_str().unwrap())
    };
    story["events"].as_array().unwrap().iter().map(word).collect()
}

#[test]
fn a_message_is_followed_from_its_sender_to_where_it_is() {
    let sink = Sink::good();
    let (good, dead) = (format!("other.test={}", sink.at()), "dead.test=127.0.0.1:9");
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("demo");
    let demo = Demo::start_on(&dir, &["--route", &good, "--route", dead]);
    let send = foreign("swaks")
        .args("--silent 2 --helo laptop.test -tls --auth PLAIN --auth-user alice@demo.test --auth-password demo")
        .args("--from alice@demo.test --to bob@demo.test,nobody@demo.test,carol@other.test,dora@dead.test")
        .args("--body Sesame --h-Message-Id <one@laptop.test>")
        .args(&format!("--server 127.0.0.1:{}", demo.port("submission")))
        .attempt();
    assert_eq!(send.code, Some(0));
    sink.wait_for(1);
    // What became of the one that cannot be reached is told when it was tried.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let story = loop {
        let found = trace(&dir, &["<one@laptop.test>"]).unwrap_or_default();
        match found.into_iter().next().filter(|story| words(story).len() == 4) {
            Some(story) => break story,
            None => assert!(std::time::Instant::now() < deadline, "the story has no end"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let mut said = words(&story);
    said.sort();
    assert_eq!(
        said,
        [
            "accepted",
            "refused nobody@demo.test",
            "tried carol@other.test delivered",
            "tried dora@dead.test deferred"
        ]
    );
    let accepted = story["events"].as_array().unwrap().iter().find(|it| it["event"] == "accepted").unwrap();
    assert_eq!((&accepted["login"], &accepted["helo"]), (&"alice@demo.test".into(), &"laptop.test".into()));
    assert_eq!(accepted["tls"][0], "TLSv1.3");
    assert_eq!(story["waiting"].as_array().unwrap().len(), 1);
    assert_eq!(story["waiting"][0]["to"], "dora@dead.test");

    // By its name, by its number in the queue, by each who gets it; and when no server runs.
    let tag = story["tag"].as_str().unwrap().to_owned();
    let number = story["waiting"][0]["queue"].to_string();
    let asked = [tag.as_str(), &number, "BOB@demo.test", "carol@other.test", "nobody@demo.test"];
    for what in asked {
        assert_eq!(trace(&dir, &[what]).as_deref(), Ok([story.clone()].as_slice()), "{what}");
    }
    assert_eq!(trace(&dir, &["bob@demo.test", "--until", "1h"]), Err(65));
    assert_eq!(trace(&dir, &["bob@demo.test", "--since", "1h"]).unwrap().len(), 1);
    assert_eq!(trace(&dir, &["erin@demo.test"]), Err(65));
    demo.terminate();
    for what in asked {
        assert_eq!(trace(&dir, &[what]).as_deref(), Ok([story.clone()].as_slice()), "{what}, afterwards");
    }
}
