-- What settings an instance has, as a digest: those that all must have alike.
ALTER TABLE countersign.instances ADD COLUMN settings text NOT NULL DEFAULT '';
