-- The tables of a store, and the one function by which exchanges are committed.
--
-- Times are milliseconds since the epoch. Numbers of entries count from 0.

-- The time that decides what may be forgotten: the database's, which all instances share.
CREATE FUNCTION countersign.now_millis() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- What is so of the whole log, and rarely changes.
CREATE TABLE countersign.log_about (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Made once: tells a database from another one at the same address.
    log_id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The number of the first entry whose withheld values were not deleted.
    withheld_from bigint NOT NULL DEFAULT 0
);
INSERT INTO countersign.log_about DEFAULT VALUES;

-- The entries, as many in a row as one commit added. `leaf_ends` and `withheld_ends` say where each one's octets end in
-- `leaves` and in `log_withheld`; `hashes` has 32 octets for each, `marks` 56.
--
-- Where the log ends stands in the last row, and nowhere else: a row that every commit replaced would have a version for
-- each, all of which every commit would walk past for as long as anybody holds a snapshot.
--
-- In parts of 2^27 entries (`add_partition`): a table has 2^32 values that are stored apart (TOAST), and every commit of more
-- than a few exchanges takes some of them.
CREATE TABLE countersign.log_batches (
    first bigint PRIMARY KEY,
    count integer NOT NULL,
    -- The latest time of these entries and all before them, and of those since the clock was last put back.
    latest bigint NOT NULL,
    latest_since bigint NOT NULL,
    -- The number of the last entry that says that the clock was put back; 0 if there is none, which the first never is.
    put_back bigint NOT NULL,
    leaf_ends integer[] NOT NULL,
    withheld_ends integer[] NOT NULL,
    hashes bytea NOT NULL,
    marks bytea NOT NULL,
    leaves bytea NOT NULL
) PARTITION BY RANGE (first);
-- Hashes do not shrink, and of both a part is read by itself, which a packed value does not allow.
ALTER TABLE countersign.log_batches ALTER hashes SET STORAGE EXTERNAL, ALTER marks SET STORAGE EXTERNAL;
-- Many batches may say the same latest time, and the first of them is looked for.
CREATE INDEX log_batches_latest ON countersign.log_batches (latest, first);

-- What leaves do not hold, of the batches that have any. Deleted when it has been kept as long as it should.
CREATE TABLE countersign.log_withheld (
    first bigint PRIMARY KEY,
    withheld bytea NOT NULL
) PARTITION BY RANGE (first);
-- JSON of many entries that are alike: with lz4 it takes a third of the room, and less time than without. The other method
-- of the server would take longer than the rest of a commit, so where lz4 is not built in, octets stay as they are.
DO $$
BEGIN
    ALTER TABLE countersign.log_batches ALTER leaves SET COMPRESSION lz4;
    ALTER TABLE countersign.log_withheld ALTER withheld SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE countersign.log_batches ALTER leaves SET STORAGE EXTERNAL;
    ALTER TABLE countersign.log_withheld ALTER withheld SET STORAGE EXTERNAL;
END
$$;

-- Makes the part of the log for the entries from number * 2^27 on, unless it is there. Answers whether it made it.
--
-- In the way of nobody who commits or reads: the new tables are empty when they are attached, so nothing is looked through,
-- and attaching excludes only what changes the tables themselves (SHARE UPDATE EXCLUSIVE). Of those who make one at the
-- same time, one does: they take turns, by the octets of `ctrspart`.
CREATE FUNCTION countersign.add_partition(number bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    parent text;
    part text;
BEGIN
    IF to_regclass('countersign.log_batches_' || number) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(x'6374727370617274'::bigint);
    IF to_regclass('countersign.log_batches_' || number) IS NOT NULL THEN
        RETURN false;
    END IF;
    FOREACH parent IN ARRAY ARRAY['log_batches', 'log_withheld'] LOOP
        part := parent || '_' || number;
        EXECUTE format('CREATE TABLE countersign.%I (LIKE countersign.%I INCLUDING ALL)', part, parent);
        -- Rows are added, and nearly all stay as they are. So they are looked at soon after, each once, and marked as
        -- those that all transactions see (frozen): neither then nor before the numbers of transactions come round is
        -- there a whole table to go over.
        EXECUTE format(
            'ALTER TABLE countersign.%I SET (
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
                toast.autovacuum_vacuum_insert_scale_factor = 0, toast.autovacuum_vacuum_insert_threshold = 400000,
                autovacuum_freeze_min_age = 0, toast.autovacuum_freeze_min_age = 0)', part);
        IF parent = 'log_withheld' THEN
            -- What was deleted is to leave the disk soon, and not when a fifth of the table was.
            EXECUTE format(
                'ALTER TABLE countersign.%I SET (
                    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
                    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000)', part);
        END IF;
        EXECUTE format(
            'ALTER TABLE countersign.%I ATTACH PARTITION countersign.%I FOR VALUES FROM (%s) TO (%s)',
            parent, part, number << 27, (number + 1) << 27);
    END LOOP;
    RETURN true;
END
$$;
SELECT countersign.add_partition(number) FROM generate_series(0, 1) AS number;

-- The part in which the next batch begins, so that commits need not look for it: written once in 2^27 entries.
CREATE TABLE countersign.log_last_part (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    number bigint NOT NULL DEFAULT 0
);
INSERT INTO countersign.log_last_part DEFAULT VALUES;

-- Where the log ends.
CREATE VIEW countersign.log_head AS
SELECT a.log_id,
    -- How many entries there are.
    coalesce(b.first + b.count, 0) AS size,
    coalesce(b.latest, (-9223372036854775808)::bigint) AS latest,
    coalesce(b.latest_since, (-9223372036854775808)::bigint) AS latest_since,
    coalesce(b.put_back, 0) AS put_back,
    a.withheld_from
FROM countersign.log_about a
LEFT JOIN LATERAL (
    SELECT l.first, l.count, l.latest, l.latest_since, l.put_back
    FROM countersign.log_batches l ORDER BY l.first DESC LIMIT 1
) b ON true;

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
--            6 it was done before, by this very job; 0 what is announced is not to be said
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
-- A plan that was made while a table was empty must not read all of it later: everything here is found by its key.
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
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
    -- Where the part of the log begins in which it ends.
    part bigint;
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

        -- The end of the log is whose turn it is, by the octets of `ctrstail`, until the transaction has ended, here and on
        -- its standby. The next statement sees what was committed before that, for it has a snapshot of its own.
        PERFORM pg_advisory_xact_lock(x'637472737461696c'::bigint);
        SELECT l.number << 27 INTO part FROM countersign.log_last_part l WHERE l.one;
        -- In that part alone: with every other one that is looked at, a commit takes longer.
        SELECT b.first + b.count, b.latest, b.latest_since, b.put_back
            INTO head.size, head.latest, head.latest_since, head.put_back
            FROM countersign.log_batches b WHERE b.first >= part AND b.first < part + (1 << 27)
            ORDER BY b.first DESC LIMIT 1;
        IF head.size IS NULL THEN
            SELECT h.size, h.latest, h.latest_since, h.put_back
                INTO head.size, head.latest, head.latest_since, head.put_back
                FROM countersign.log_head h;
        END IF;
        IF head.size >> 27 <> part >> 27 THEN
            -- The first batch of a part, which was made long before unless instances were kept from it.
            PERFORM countersign.add_partition(head.size >> 27);
            UPDATE countersign.log_last_part SET number = head.size >> 27;
        END IF;
        IF announced IS NOT NULL AND (announced <> head.latest_since OR added = 1) THEN
            -- Somebody else has said so meanwhile, or nobody is left who needs it said. That would not be true of this log.
            outcomes[1] := 0;
            whole := false;
            added := added - 1;
            announced := NULL;
        END IF;
        SELECT min(e.at), max(e.at) INTO oldest, newest
            FROM unnest(entry_jobs, ats) AS e (j, at) WHERE outcomes[e.j] = 1;
        IF announced IS NOT NULL THEN
            head.put_back := head.size;
            head.latest_since := ats[1];
        END IF;
        last_at := greatest(head.latest_since, newest);
        IF head.size > 0 AND oldest < last_at - 60000 THEN
            RAISE EXCEPTION 'an entry is behind the latest one' USING ERRCODE = 'CS001', DETAIL = last_at::text;
        END IF;
        IF added = 0 THEN
            -- Only the announcement was left.
            NULL;
        ELSIF whole THEN
            INSERT INTO countersign.log_batches
                (first, count, latest, latest_since, put_back, leaf_ends, withheld_ends, hashes, marks, leaves)
            VALUES (head.size, added, greatest(head.latest, newest), last_at, head.put_back,
                    leaf_ends, withheld_ends, hashes, marks, leaves);
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
                    (first, count, latest, latest_since, put_back, leaf_ends, withheld_ends, hashes, marks, leaves)
                SELECT head.size, added, greatest(head.latest, newest), last_at, head.put_back,
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

-- The same for what most batches are: first uses of tokens alone, by no names, each with one entry, from times that overlap.
-- Answers the number of the first entry; null, and nothing is done, if that is not all that there is to it: then
-- `commit_batch` is to be asked.
CREATE FUNCTION countersign.commit_first_uses(
    job_keys bytea[], job_ids uuid[], job_untils bigint[], earliest_until bigint,
    leaf_ends integer[], withheld_ends integer[], oldest bigint, newest bigint,
    hashes bytea, marks bytea, leaves bytea, withheld bytea
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    jobs constant integer := cardinality(job_keys);
    taken integer;
    part bigint;
    size bigint;
    latest_at bigint;
    since bigint;
    back bigint;
BEGIN
    INSERT INTO countersign.spent_tokens (key, uses, until, decision_id)
        SELECT j.key, 1, j.until, j.id FROM unnest(job_keys, job_untils, job_ids) AS j (key, until, id) ORDER BY j.key
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken = jobs AND NOT EXISTS (SELECT 1 FROM countersign.forgotten f WHERE f.one AND f.until >= earliest_until) THEN
        -- As at the end of `commit_batch`: what changes there changes here.
        PERFORM pg_advisory_xact_lock(x'637472737461696c'::bigint);
        SELECT l.number << 27 INTO part FROM countersign.log_last_part l WHERE l.one;
        SELECT b.first + b.count, b.latest, b.latest_since, b.put_back INTO size, latest_at, since, back
            FROM countersign.log_batches b WHERE b.first >= part AND b.first < part + (1 << 27)
            ORDER BY b.first DESC LIMIT 1;
        IF size IS NULL AND part = 0 THEN
            -- Nothing is in the log yet.
            size := 0;
            back := 0;
        END IF;
        IF size >> 27 = part >> 27 AND oldest >= greatest(since, newest) - 60000 THEN
            INSERT INTO countersign.log_batches
                (first, count, latest, latest_since, put_back, leaf_ends, withheld_ends, hashes, marks, leaves)
            VALUES (size, jobs, greatest(latest_at, newest), greatest(since, newest), back,
                    leaf_ends, withheld_ends, hashes, marks, leaves);
            IF length(withheld) > 0 THEN
                INSERT INTO countersign.log_withheld (first, withheld) VALUES (size, withheld);
            END IF;
            RETURN size;
        END IF;
    END IF;
    DELETE FROM countersign.spent_tokens s USING unnest(job_keys) AS j (key)
        WHERE s.key = j.key AND s.xmin = pg_current_xact_id()::xid;
    RETURN NULL;
END
$$;
