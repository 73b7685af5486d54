//! Witnesses and proofs.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::verifier::VerifierKey;

use super::writer::{Log, Signer, consistency, put};
use super::{codes, of_tiles, python, python_of, question};

#[test]
fn a_witness_has_cosigned_this_log_or_it_is_refused() {
    let log = Log::of(300);
    let folder = tempfile::tempdir().unwrap();
    let tiles = folder.path();
    log.write_tiles(tiles);
    let witness = Signer::new("witness.example.com/w1", 4, 9);
    let mut asked = question(&log);
    asked.witnesses = vec![VerifierKey::parse(&witness.vkey()).unwrap()];
    let vkey = witness.vkey();
    let judged = || {
        let report = of_tiles(tiles, &asked);
        let python = python_of(tiles, &log, &["--witness", &vkey]);
        assert_eq!(report.is_whole(), python.0, "{}", python.1);
        let at = report
            .cosigned
            .first()
            .map(|cosigned| (cosigned.size, cosigned.at));
        (codes(&report), at)
    };
    let bad = vec![("cosignature-invalid", None)];
    assert_eq!(judged().0, bad);
    // An earlier one, beside the checkpoint.
    let earlier = tiles.join("cosigned-checkpoint");
    put(
        &earlier,
        witness
            .cosigned(&log.checkpoint(200), 1_763_000_000)
            .as_bytes(),
    );
    assert_eq!(judged(), (Vec::new(), Some((200, 1_763_000_000))));
    let mut fork = Log::of(300);
    fork.leaves.swap(3, 4);
    put(
        &earlier,
        witness
            .cosigned(&fork.checkpoint(200), 1_763_000_000)
            .as_bytes(),
    );
    assert_eq!(judged().0, [("forked", None)]);
    // In the checkpoint itself.
    let checkpoint = log.checkpoint(300);
    let cosigned = witness.cosigned(&checkpoint, 1_763_000_000);
    put(&tiles.join("checkpoint"), cosigned.as_bytes());
    assert_eq!(judged(), (Vec::new(), Some((300, 1_763_000_000))));
    let other = Signer::new("witness.example.com/w1", 4, 10);
    put(
        &tiles.join("checkpoint"),
        other.cosigned(&checkpoint, 1).as_bytes(),
    );
    fs::remove_file(&earlier).unwrap();
    assert_eq!(judged().0, bad);
    let (_, line) = cosigned.trim_end().rsplit_once('\n').unwrap();
    let moved = format!("{}{line}\n", Log::of(301).checkpoint(300));
    put(&tiles.join("checkpoint"), moved.as_bytes());
    assert_eq!(judged().0, Vec::new());
    // Cosigned at another time than it says.
    let mut octets = STANDARD.decode(line.rsplit_once(' ').unwrap().1).unwrap();
    octets[11] ^= 1;
    let line = format!("— witness.example.com/w1 {}\n", STANDARD.encode(octets));
    put(
        &tiles.join("checkpoint"),
        format!("{checkpoint}{line}").as_bytes(),
    );
    assert_eq!(judged().0, bad);
}

#[test]
fn a_proof_stands_for_one_entry_and_no_other() {
    let log = Log::of(700);
    let folder = tempfile::tempdir().unwrap();
    let (proof, entry) = (folder.path().join("proof"), folder.path().join("entry"));
    let vkey = log.signer.vkey();
    let judged = || {
        let (proof, entry) = (proof.to_str().unwrap(), entry.to_str().unwrap());
        python(&["--key", &vkey, "--proof", proof, "--entry", entry])
            .status
            .code()
    };
    for index in [0, 255, 256, 511, 512, 698, 699] {
        put(&proof, log.proof(index).as_bytes());
        put(&entry, &log.leaves[index]);
        assert_eq!(judged(), Some(0));
        put(&entry, &log.leaves[index ^ 1]);
        assert_eq!(judged(), Some(1));
        put(&entry, &log.leaves[index]);
        let moved = log
            .proof(index)
            .replace(&format!("index {index}\n"), "index 77\n");
        put(&proof, moved.as_bytes());
        assert_eq!(judged(), Some(1));
    }
    put(
        &proof,
        log.proof(5).replacen("\n\n", "\nAAAA\n\n", 1).as_bytes(),
    );
    put(&entry, &log.leaves[5]);
    assert_eq!(judged(), Some(1));
}

#[test]
fn a_consistency_proof_holds_between_two_checkpoints_of_one_log() {
    let log = Log::of(700);
    let folder = tempfile::tempdir().unwrap();
    let tiles = folder.path().join("tiles");
    log.write_tiles(&tiles);
    let (earlier, proof) = (folder.path().join("earlier"), folder.path().join("proof"));
    let arguments = [
        "--since",
        earlier.to_str().unwrap(),
        "--consistency",
        proof.to_str().unwrap(),
    ];
    for size in [1, 256, 300, 512, 699, 700] {
        put(&earlier, log.checkpoint(size).as_bytes());
        let path = consistency(size, &log.levels()[0]);
        let lines: Vec<String> = path.iter().map(|hash| STANDARD.encode(hash)).collect();
        put(&proof, lines.join("\n").as_bytes());
        let (whole, said) = python_of(&tiles, &log, &arguments);
        assert!(whole, "{size}: {said}");
        put(
            &proof,
            [&lines[..], &[STANDARD.encode([1; 32])]]
                .concat()
                .join("\n")
                .as_bytes(),
        );
        assert!(!python_of(&tiles, &log, &arguments).0);
    }
}
