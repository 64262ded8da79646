//! Requests that are sent before earlier ones are answered.

use std::io::Write;
use std::thread;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Request, evidence};
use serde_json::{Value, json};

use super::{COMMAND, Victim, sealing};

const PIPELINED: usize = 2_000;

/// Sends them all at once, whatever comes back meanwhile, and reads the answers; what a connection
/// does not answer before its end is sent again on another.
fn pipeline(victim: &Victim, operation: &str, bodies: &[Value]) -> Result<Vec<Value>> {
    let mut answers = Vec::new();
    while let Some(left) = bodies.get(answers.len()..).filter(|left| !left.is_empty()) {
        let before = answers.len();
        pipeline_once(victim, operation, left, &mut answers)?;
        ensure!(answers.len() > before, "a connection without an answer");
    }
    Ok(answers)
}

fn pipeline_once(
    victim: &Victim,
    operation: &str,
    bodies: &[Value],
    answers: &mut Vec<Value>,
) -> Result<()> {
    let mut connection = victim.client.connect()?;
    let path = format!("transit/{operation}/autounseal");
    let token = victim.token()?;
    let request =
        |body| Request::new("PUT", &path).header("X-Vault-Token", token).json(body).bytes();
    let sent = bodies.iter().flat_map(request).collect::<Vec<_>>();
    let mut writing = connection.writer()?;
    thread::scope(|scope| {
        // The server may close before it has read all.
        let writer = scope.spawn(move || writing.write_all(&sent).ok());
        for _ in bodies {
            // What the end of a connection takes away unread is asked again.
            let Ok(answer) = connection.answer(false) else { break };
            answers.push(answer.data()?);
            // Its buffer has grown, and goes with the connection (I3).
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        drop(connection);
        writer.join().map_err(|_panic| anyhow::anyhow!("the writer panicked")).map(drop)
    })
}

#[test]
fn pipelined_requests_are_answered_each_with_its_own_in_their_order() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let toll = victim.endures(64, |victim, _honest| {
        let texts: Vec<_> = (0..PIPELINED).map(|number| format!("{number:04}")).collect();
        let bodies: Vec<_> = texts.iter().map(|text| sealing(text)).collect();
        let sealed = pipeline(victim, "encrypt", &bodies)?;
        let bodies = sealed.iter().map(|data| json!({ "ciphertext": data["ciphertext"] }));
        let opened = pipeline(victim, "decrypt", &bodies.collect::<Vec<_>>())?;
        for (text, data) in texts.iter().zip(opened) {
            let plaintext = data["plaintext"].as_str().context("no plaintext")?;
            ensure!(plaintext == text, "{plaintext} is the answer to {text}");
        }
        Ok(())
    })?;
    evidence(
        "pipelined requests are answered each with its own",
        COMMAND,
        format!("{PIPELINED} encrypts and as many decrypts, all sent at once; {toll}"),
        "a bound of 1 MiB is found to be broken",
    )
}
