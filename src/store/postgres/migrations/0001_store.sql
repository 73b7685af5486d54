-- The tables of a store, and the one function by which exchanges are committed.
--
-- Times are milliseconds since the epoch. Numbers of entries count from 0.

-- The time that decides what may be forgotten: the database's, which all instances share.
CREATE FUNCTION countersign.now_millis() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Where the log ends: one row, which whoever adds to the log locks last.
CREATE TABLE countersign.log_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Made once: tells a database from another one at the same address.
    log_id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- How many entries there are.
    size bigint NOT NULL DEFAULT 0,
    -- The latest time of all entries, and of those since the clock was last put back.
    latest bigint NOT NULL DEFAULT -9223372036854775808,
    latest_since bigint NOT NULL DEFAULT -9223372036854775808,
    -- The number of the entry that says that the clock was put back; 0 if there is none, which the first never is.
    put_back bigint NOT NULL DEFAULT 0,
    -- The number of the first entry whose withheld values were not deleted.
    withheld_from bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO countersign.log_head DEFAULT VALUES;

-- The entries, as many in a row as one commit added. `leaf_ends` and `withheld_ends` say where each one's octets end in
-- `leaves` and in `log_withheld`; `hashes` has 32 octets for each, `marks` 56.
CREATE TABLE countersign.log_batches (
    first bigint PRIMARY KEY,
    count integer NOT NULL,
    -- The latest time of these entries and all before them.
    latest bigint NOT NULL,
    leaf_ends integer[] NOT NULL,
    withheld_ends integer[] NOT NULL,
    hashes bytea NOT NULL,
    marks bytea NOT NULL,
    leaves bytea NOT NULL
);
-- Already packed octets: a compressed value could not be read in part.
ALTER TABLE countersign.log_batches
    ALTER leaves SET STORAGE EXTERNAL, ALTER hashes SET STORAGE EXTERNAL, ALTER marks SET STORAGE EXTERNAL;
-- Many batches may say the same latest time, and the first of them is looked for.
CREATE INDEX log_batches_latest ON countersign.log_batches (latest, first);

-- What leaves do not hold, of the batches that have any. Deleted when it has been kept as long as it should.
CREATE TABLE countersign.log_withheld (
    first bigint PRIMARY KEY,
    withheld bytea NOT NULL
);
ALTER TABLE countersign.log_withheld ALTER withheld SET STORAGE EXTERNAL;
-- What was deleted is to leave the disk soon, and not when a fifth of the table was.
ALTER TABLE countersign.log_withheld SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000);

-- How many chunks of 4096 entries are packed: their hashes in `log_nodes`, what they are found by in `log_chunks` and
-- `log_postings`.
CREATE TABLE countersign.log_progress (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    packed bigint NOT NULL DEFAULT 0
);
INSERT INTO countersign.log_progress DEFAULT VALUES;

-- Hashes of whole subtrees: level 1 covers 256 leaves each, level 2 covers 256 of level 1, and so on.
CREATE TABLE countersign.log_nodes (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (level, number)
);

-- The marks of the names and of the token ids of a chunk, 4 octets for each entry.
CREATE TABLE countersign.log_chunks (
    chunk bigint PRIMARY KEY,
    ids bytea NOT NULL,
    token_ids bytea NOT NULL
);
ALTER TABLE countersign.log_chunks ALTER ids SET STORAGE EXTERNAL, ALTER token_ids SET STORAGE EXTERNAL;

-- Which entries of a chunk have a fact. A term is the fact's number times 2^32 and its mark.
CREATE TABLE countersign.log_postings (
    term bigint NOT NULL,
    chunk bigint NOT NULL,
    places bytea NOT NULL,
    PRIMARY KEY (term, chunk)
);

-- The first place of the log that was found to be not as it was written, for all instances: one row, or none.
CREATE TABLE countersign.log_fault (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- An entry of the place.
    entry bigint NOT NULL,
    what text NOT NULL,
    mend text NOT NULL
);

-- Subject tokens that were used, by the digest that they are remembered by.
CREATE TABLE countersign.spent_tokens (
    key bytea PRIMARY KEY,
    uses integer NOT NULL,
    -- When it may be forgotten.
    until bigint NOT NULL,
    -- The decision of the last use: whoever asks again after a lost answer is told what came of it.
    decision_id uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
CREATE INDEX spent_tokens_until ON countersign.spent_tokens (until);

-- How far spent tokens were forgotten: nothing is promised of one that would be remembered no longer.
CREATE TABLE countersign.forgotten (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    until bigint NOT NULL
);

-- Denials that are on record, by what makes two of them the same; and for an hour, by their names, other entries that are
-- to be added once.
CREATE TABLE countersign.denials (
    key bytea PRIMARY KEY,
    decision_id uuid NOT NULL,
    until bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX denials_until ON countersign.denials (until);

-- Denials that are only counted, until their hour is over.
CREATE TABLE countersign.denial_counts (
    hour bigint NOT NULL,
    issuer text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, issuer, reason)
);

-- Names that policies give without ids, by the SHA-256 of their JSON. `state` is null while nothing is remembered.
CREATE TABLE countersign.names (
    id bytea PRIMARY KEY,
    project text NOT NULL,
    names text NOT NULL,
    state text,
    version bigint NOT NULL
);
CREATE INDEX names_project ON countersign.names (project);

CREATE TABLE countersign.projects (
    path text PRIMARY KEY,
    id text NOT NULL UNIQUE
);

-- The last good keys of issuers.
CREATE TABLE countersign.issuer_keys (
    issuer text PRIMARY KEY,
    fetched bigint NOT NULL,
    body bytea NOT NULL
);

-- Our own keys, sealed as the configuration asks.
CREATE TABLE countersign.signing_keys (
    id text PRIMARY KEY,
    sealed bytea NOT NULL
);
CREATE TABLE countersign.checkpoint_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    sealed bytea NOT NULL
);

-- The last checkpoint that was signed and the last that a witness cosigned.
CREATE TABLE countersign.checkpoints (
    which text PRIMARY KEY,
    size bigint NOT NULL,
    note text NOT NULL
);

-- What the log says is in force of each policy file, and the text of every version.
CREATE TABLE countersign.policies (
    file text PRIMARY KEY,
    on_record text NOT NULL
);
CREATE TABLE countersign.policy_texts (
    digest text PRIMARY KEY,
    content bytea NOT NULL
);

-- The processes that run on this store, and which policies each has in force.
CREATE TABLE countersign.instances (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    program text NOT NULL,
    policies text NOT NULL,
    seen bigint NOT NULL
);

-- What all instances must hear of: a number for each kind, which rises with every change. Told by NOTIFY on the channel
-- `countersign` too, with the kind.
CREATE TABLE countersign.changes (
    kind text PRIMARY KEY,
    version bigint NOT NULL
);

-- Commits jobs: each uses a subject token (kind 1), records a denial (kind 2), or only adds entries (kind 3). One
-- transaction decides which of them may, numbers their entries, and adds them to the log.
--
-- Locks are taken in one order by everybody: names, spent tokens and denials, each sorted by key, and the end of the log
-- last. So no two batches wait for each other.
--
-- What a job asks for:
--   job_kinds, job_keys    what it does, and the key of the token or denial
--   job_ids                the decision
--   job_before             how often the token was used before, as the leaf says it (kind 1)
--   job_untils             when the key may be forgotten
-- The names that a job is let in by:
--   pin_jobs               the number of the job, from 1
--   pin_ids, pin_versions  the names, and the version of what is remembered of them that the job was decided with
--   pin_states             what is remembered from here on; null if that is the same
-- The entries, in the order of their jobs:
--   entry_jobs             the number of the job
--   leaf_ends, withheld_ends, hashes, marks, ats, leaves, withheld
-- And announced: if the first entry says that the clock was put back, the time from which; else null.
--
-- What came of each job, in their order:
--   outcome  1 done; 2 the token was used otherwise than `job_before` says, `uses` times; 3 it is not known any more
--            whether the token was used; 4 names have another version; 5 the denial is on record as `decision`;
--            6 it was done before, by this very job
--   entry    the number of its first entry, if it is done
-- Nothing at all is done, with the error CS001 and the latest time as its detail, if an entry is further behind than
-- requests that overlap are.
CREATE FUNCTION countersign.commit_batch(
    job_kinds smallint[], job_keys bytea[], job_ids uuid[], job_before integer[], job_untils bigint[],
    pin_jobs integer[], pin_ids bytea[], pin_versions bigint[], pin_states text[],
    entry_jobs integer[], leaf_ends integer[], withheld_ends integer[], ats bigint[],
    hashes bytea, marks bytea, leaves bytea, withheld bytea,
    announced bigint
) RETURNS TABLE (job integer, outcome smallint, uses integer, decision uuid, entry bigint)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    jobs constant integer := cardinality(job_kinds);
    spends integer;
    denies integer;
    done integer;
    -- The outcome of each job, and what it says besides.
    outcomes smallint[] := array_fill(1::smallint, ARRAY[jobs]);
    told_uses integer[];
    told_ids uuid[];
    whole boolean;
    refused integer[];
    head countersign.log_head%ROWTYPE;
    added integer := cardinality(entry_jobs);
    newest bigint;
    oldest bigint;
    last_at bigint;
    limit_until bigint;
BEGIN
    -- Names first: who is let in by others than were seen is decided again.
    IF cardinality(pin_jobs) > 0 THEN
        PERFORM 1 FROM countersign.names n WHERE n.id = ANY (pin_ids) ORDER BY n.id FOR UPDATE;
        SELECT array_agg(DISTINCT p.j) INTO refused
            FROM unnest(pin_jobs, pin_ids, pin_versions) AS p (j, id, version)
            LEFT JOIN countersign.names n ON n.id = p.id
            WHERE n.version IS DISTINCT FROM p.version;
        FOR done IN SELECT unnest(refused) LOOP
            outcomes[done] := 4;
        END LOOP;
    END IF;

    -- First uses.
    SELECT count(*) FILTER (WHERE k = 1), count(*) FILTER (WHERE k = 2) INTO spends, denies
        FROM unnest(job_kinds) AS j (k);
    IF spends > 0 THEN
        WITH wanted AS (
            SELECT j.n, j.key, j.until, j.id
            FROM unnest(job_kinds, job_keys, job_before, job_untils, job_ids, outcomes)
                WITH ORDINALITY AS j (kind, key, before, until, id, outcome, n)
            WHERE j.kind = 1 AND j.before = 0 AND j.outcome = 1
            ORDER BY j.key
        ), taken AS (
            INSERT INTO countersign.spent_tokens (key, uses, until, decision_id)
            SELECT w.key, 1, w.until, w.id FROM wanted w
            ON CONFLICT DO NOTHING
            RETURNING key
        )
        SELECT array_agg(w.n) INTO refused
            FROM wanted w WHERE NOT EXISTS (SELECT 1 FROM taken t WHERE t.key = w.key);
        FOR done IN SELECT unnest(refused) LOOP
            outcomes[done] := 2;
        END LOOP;

        -- Later uses: only if nobody used the token meanwhile.
        IF EXISTS (SELECT 1 FROM unnest(job_kinds, job_before) AS j (kind, before)
                   WHERE j.kind = 1 AND j.before > 0) THEN
            PERFORM 1 FROM countersign.spent_tokens s
                WHERE s.key IN (SELECT j.key FROM unnest(job_kinds, job_keys, job_before) AS j (kind, key, before)
                                WHERE j.kind = 1 AND j.before > 0)
                ORDER BY s.key FOR UPDATE;
            WITH wanted AS (
                SELECT j.n, j.key, j.until, j.id, j.before
                FROM unnest(job_kinds, job_keys, job_before, job_untils, job_ids, outcomes)
                    WITH ORDINALITY AS j (kind, key, before, until, id, outcome, n)
                WHERE j.kind = 1 AND j.before > 0 AND j.outcome = 1
            ), taken AS (
                UPDATE countersign.spent_tokens s
                SET uses = s.uses + 1, until = greatest(s.until, w.until), decision_id = w.id
                FROM wanted w WHERE s.key = w.key AND s.uses = w.before
                RETURNING w.n
            )
            SELECT array_agg(w.n) INTO refused FROM wanted w WHERE w.n NOT IN (SELECT t.n FROM taken t);
            FOR done IN SELECT unnest(refused) LOOP
                outcomes[done] := 2;
            END LOOP;
        END IF;

        -- A token that would be remembered no longer than one that was forgotten may be that very one.
        SELECT f.until INTO limit_until FROM countersign.forgotten f;
        IF limit_until IS NOT NULL THEN
            WITH unknown AS (
                SELECT j.n, j.key
                FROM unnest(job_kinds, job_keys, job_before, job_untils, outcomes)
                    WITH ORDINALITY AS j (kind, key, before, until, outcome, n)
                WHERE j.kind = 1 AND j.before = 0 AND j.outcome = 1 AND j.until <= limit_until
            ), undone AS (
                DELETE FROM countersign.spent_tokens s USING unknown u WHERE s.key = u.key
            )
            SELECT array_agg(u.n) INTO refused FROM unknown u;
            FOR done IN SELECT unnest(refused) LOOP
                outcomes[done] := 3;
            END LOOP;
        END IF;
    END IF;

    IF denies > 0 THEN
        WITH wanted AS (
            SELECT j.n, j.key, j.until, j.id
            FROM unnest(job_kinds, job_keys, job_untils, job_ids) WITH ORDINALITY AS j (kind, key, until, id, n)
            WHERE j.kind = 2
            ORDER BY j.key
        ), taken AS (
            INSERT INTO countersign.denials (key, decision_id, until)
            SELECT w.key, w.id, w.until FROM wanted w
            ON CONFLICT DO NOTHING
            RETURNING key
        )
        SELECT array_agg(w.n) INTO refused
            FROM wanted w WHERE NOT EXISTS (SELECT 1 FROM taken t WHERE t.key = w.key);
        FOR done IN SELECT unnest(refused) LOOP
            outcomes[done] := 5;
        END LOOP;
    END IF;

    whole := NOT (2 = ANY (outcomes) OR 3 = ANY (outcomes) OR 4 = ANY (outcomes) OR 5 = ANY (outcomes));
    IF NOT whole THEN
        -- What is known of those that were refused. A statement of its own: it sees what others committed meanwhile.
        SELECT array_agg(s.uses ORDER BY j.n),
               array_agg(coalesce(s.decision_id, d.decision_id) ORDER BY j.n)
            INTO told_uses, told_ids
            FROM unnest(job_kinds, job_keys, outcomes) WITH ORDINALITY AS j (kind, key, outcome, n)
            LEFT JOIN countersign.spent_tokens s ON j.outcome = 2 AND s.key = j.key
            LEFT JOIN countersign.denials d ON j.outcome = 5 AND d.key = j.key;
        FOR done IN 1 .. jobs LOOP
            IF outcomes[done] IN (2, 5) AND told_ids[done] = job_ids[done] THEN
                outcomes[done] := 6;
            END IF;
        END LOOP;
        SELECT count(*) INTO added FROM unnest(entry_jobs) AS e (j) WHERE outcomes[e.j] = 1;
    END IF;

    IF added > 0 THEN
        -- What is remembered of names, of those that were let in.
        IF cardinality(pin_jobs) > 0 THEN
            UPDATE countersign.names n SET state = p.state, version = n.version + 1
                FROM unnest(pin_jobs, pin_ids, pin_states) AS p (j, id, state)
                WHERE n.id = p.id AND p.state IS NOT NULL AND outcomes[p.j] = 1;
        END IF;

        SELECT * INTO head FROM countersign.log_head h FOR UPDATE;
        SELECT min(e.at), max(e.at) INTO oldest, newest
            FROM unnest(entry_jobs, ats) AS e (j, at) WHERE outcomes[e.j] = 1;
        IF announced IS NOT NULL AND announced = head.latest_since THEN
            head.put_back := head.size;
            head.latest_since := ats[1];
        END IF;
        last_at := greatest(head.latest_since, newest);
        IF head.size > 0 AND oldest < last_at - 60000 THEN
            RAISE EXCEPTION 'an entry is behind the latest one' USING ERRCODE = 'CS001', DETAIL = last_at::text;
        END IF;
        IF whole THEN
            INSERT INTO countersign.log_batches
                (first, count, latest, leaf_ends, withheld_ends, hashes, marks, leaves)
            VALUES (head.size, added, greatest(head.latest, newest), leaf_ends, withheld_ends, hashes, marks, leaves);
            IF length(withheld) > 0 THEN
                INSERT INTO countersign.log_withheld (first, withheld) VALUES (head.size, withheld);
            END IF;
        ELSE
            WITH kept AS (
                SELECT e.n, e.leaf_end - lag(e.leaf_end, 1, 0) OVER w AS leaf_length,
                       lag(e.leaf_end, 1, 0) OVER w AS leaf_start,
                       e.withheld_end - lag(e.withheld_end, 1, 0) OVER w AS withheld_length,
                       lag(e.withheld_end, 1, 0) OVER w AS withheld_start,
                       outcomes[e.j] = 1 AS done
                FROM unnest(entry_jobs, leaf_ends, withheld_ends) WITH ORDINALITY AS e (j, leaf_end, withheld_end, n)
                WINDOW w AS (ORDER BY e.n)
            ), placed AS (
                SELECT k.*, sum(k.leaf_length) OVER w AS leaf_end, sum(k.withheld_length) OVER w AS withheld_end
                FROM kept k WHERE k.done WINDOW w AS (ORDER BY k.n)
            ), batch AS (
                INSERT INTO countersign.log_batches
                    (first, count, latest, leaf_ends, withheld_ends, hashes, marks, leaves)
                SELECT head.size, added, greatest(head.latest, newest),
                       array_agg(p.leaf_end::integer ORDER BY p.n),
                       array_agg(p.withheld_end::integer ORDER BY p.n),
                       string_agg(substr(hashes, (p.n::integer - 1) * 32 + 1, 32), ''::bytea ORDER BY p.n),
                       string_agg(substr(marks, (p.n::integer - 1) * 56 + 1, 56), ''::bytea ORDER BY p.n),
                       string_agg(substr(leaves, p.leaf_start + 1, p.leaf_length), ''::bytea ORDER BY p.n)
                FROM placed p
            )
            INSERT INTO countersign.log_withheld (first, withheld)
            SELECT head.size, w.octets
            FROM (SELECT string_agg(substr(withheld, p.withheld_start + 1, p.withheld_length), ''::bytea ORDER BY p.n)
                  FROM placed p) AS w (octets)
            WHERE length(w.octets) > 0;
        END IF;
        UPDATE countersign.log_head h
            SET size = head.size + added, latest = greatest(head.latest, newest), latest_since = last_at,
                put_back = head.put_back;
    END IF;

    RETURN QUERY
        SELECT j.n::integer, j.outcome, told_uses[j.n], told_ids[j.n],
               CASE WHEN j.outcome = 1 THEN head.size + e.before END
        FROM unnest(outcomes) WITH ORDINALITY AS j (outcome, n)
        LEFT JOIN (
            SELECT a.j, min(a.place) - 1 AS before
            FROM (SELECT e.j, row_number() OVER (ORDER BY e.n) AS place
                  FROM unnest(entry_jobs) WITH ORDINALITY AS e (j, n) WHERE outcomes[e.j] = 1) AS a
            GROUP BY a.j
        ) AS e ON e.j = j.n
        ORDER BY j.n;
END
$$;
