-- Keeps "user_totals" (tables.py) true: created by the migration that names this file; a change is a new file.
-- The row of totals is locked before the oldest waiting task is looked for: a statement of its own sees what whoever held it committed.
CREATE FUNCTION count_task_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  day date := CASE WHEN TG_OP <> 'DELETE' AND NEW.status = 'completed' THEN (NEW.completed_at AT TIME ZONE 'UTC')::date END;
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO user_totals AS kept (user_id, queued, running, retry, paused, completed, failed, cancelled, hidden_completed, hidden_failed, hidden_cancelled, downloaded_bytes, completed_day,
      completed_that_day, first_waiting)
    VALUES (NEW.user_id,
      (NEW.status = 'queued')::int,
      (NEW.status = 'running')::int,
      (NEW.status = 'retry')::int,
      (NEW.status = 'paused')::int,
      (NEW.status = 'completed')::int,
      (NEW.status = 'failed')::int,
      (NEW.status = 'cancelled')::int,
      (NEW.status = 'completed' AND NEW.deleted_at IS NOT NULL)::int,
      (NEW.status = 'failed' AND NEW.deleted_at IS NOT NULL)::int,
      (NEW.status = 'cancelled' AND NEW.deleted_at IS NOT NULL)::int,
      CASE WHEN NEW.status = 'completed' THEN NEW.downloaded_bytes ELSE 0 END, day, (day IS NOT NULL)::int,
      CASE WHEN NEW.status IN ('queued', 'retry') THEN NEW.history_id END)
    ON CONFLICT (user_id) DO UPDATE SET
      queued = kept.queued + excluded.queued,
      running = kept.running + excluded.running,
      retry = kept.retry + excluded.retry,
      paused = kept.paused + excluded.paused,
      completed = kept.completed + excluded.completed,
      failed = kept.failed + excluded.failed,
      cancelled = kept.cancelled + excluded.cancelled,
      hidden_completed = kept.hidden_completed + excluded.hidden_completed,
      hidden_failed = kept.hidden_failed + excluded.hidden_failed,
      hidden_cancelled = kept.hidden_cancelled + excluded.hidden_cancelled,
      downloaded_bytes = kept.downloaded_bytes + excluded.downloaded_bytes,
      completed_that_day = CASE
        WHEN day IS NULL OR kept.completed_day > day THEN kept.completed_that_day
        WHEN kept.completed_day = day THEN kept.completed_that_day + 1 ELSE 1 END,
      completed_day = greatest(kept.completed_day, day),
      first_waiting = least(kept.first_waiting, excluded.first_waiting);
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' THEN
    PERFORM FROM user_totals WHERE user_id = OLD.user_id FOR NO KEY UPDATE;
    UPDATE user_totals SET
    queued = queued - (OLD.status = 'queued')::int,
    running = running - (OLD.status = 'running')::int,
    retry = retry - (OLD.status = 'retry')::int,
    paused = paused - (OLD.status = 'paused')::int,
    completed = completed - (OLD.status = 'completed')::int,
    failed = failed - (OLD.status = 'failed')::int,
    cancelled = cancelled - (OLD.status = 'cancelled')::int,
    hidden_completed = hidden_completed - (OLD.status = 'completed' AND OLD.deleted_at IS NOT NULL)::int,
    hidden_failed = hidden_failed - (OLD.status = 'failed' AND OLD.deleted_at IS NOT NULL)::int,
    hidden_cancelled = hidden_cancelled - (OLD.status = 'cancelled' AND OLD.deleted_at IS NOT NULL)::int,
    downloaded_bytes = downloaded_bytes - CASE WHEN OLD.status = 'completed' THEN OLD.downloaded_bytes ELSE 0 END,
    first_waiting = (SELECT min(history_id) FROM tasks WHERE user_id = OLD.user_id AND status IN ('queued', 'retry'))
    WHERE user_id = OLD.user_id;
    RETURN NULL;
  END IF;
  IF OLD.status IN ('queued', 'retry') THEN
    PERFORM FROM user_totals WHERE user_id = OLD.user_id FOR NO KEY UPDATE;
  END IF;
  IF OLD.status = 'completed' THEN day := NULL; END IF;
  UPDATE user_totals SET
    queued = queued - (OLD.status = 'queued')::int + (NEW.status = 'queued')::int,
    running = running - (OLD.status = 'running')::int + (NEW.status = 'running')::int,
    retry = retry - (OLD.status = 'retry')::int + (NEW.status = 'retry')::int,
    paused = paused - (OLD.status = 'paused')::int + (NEW.status = 'paused')::int,
    completed = completed - (OLD.status = 'completed')::int + (NEW.status = 'completed')::int,
    failed = failed - (OLD.status = 'failed')::int + (NEW.status = 'failed')::int,
    cancelled = cancelled - (OLD.status = 'cancelled')::int + (NEW.status = 'cancelled')::int,
    hidden_completed = hidden_completed - (OLD.status = 'completed' AND OLD.deleted_at IS NOT NULL)::int + (NEW.status = 'completed' AND NEW.deleted_at IS NOT NULL)::int,
    hidden_failed = hidden_failed - (OLD.status = 'failed' AND OLD.deleted_at IS NOT NULL)::int + (NEW.status = 'failed' AND NEW.deleted_at IS NOT NULL)::int,
    hidden_cancelled = hidden_cancelled - (OLD.status = 'cancelled' AND OLD.deleted_at IS NOT NULL)::int + (NEW.status = 'cancelled' AND NEW.deleted_at IS NOT NULL)::int,
    downloaded_bytes = downloaded_bytes - CASE WHEN OLD.status = 'completed' THEN OLD.downloaded_bytes ELSE 0 END
      + CASE WHEN NEW.status = 'completed' THEN NEW.downloaded_bytes ELSE 0 END,
    completed_that_day = CASE
      WHEN day IS NULL OR completed_day > day THEN completed_that_day
      WHEN completed_day = day THEN completed_that_day + 1 ELSE 1 END,
    completed_day = greatest(completed_day, day),
    first_waiting = CASE
      WHEN OLD.status IN ('queued', 'retry')
        THEN (SELECT min(history_id) FROM tasks WHERE user_id = OLD.user_id AND status IN ('queued', 'retry'))
      WHEN NEW.status IN ('queued', 'retry') THEN least(first_waiting, NEW.history_id)
      ELSE first_waiting END
  WHERE user_id = NEW.user_id;
  RETURN NULL;
END $$;
--
CREATE TRIGGER count_new_task AFTER INSERT OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION count_task_v1();
--
CREATE TRIGGER count_changed_task AFTER UPDATE OF status, deleted_at ON tasks FOR EACH ROW
WHEN (OLD.status <> NEW.status OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)) EXECUTE FUNCTION count_task_v1();
--
CREATE FUNCTION count_file_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  gone bigint := CASE WHEN TG_OP = 'INSERT' OR OLD.file_path IS NULL THEN 0 ELSE coalesce(OLD.file_size, 0) END;
  come bigint := CASE WHEN TG_OP = 'DELETE' OR NEW.file_path IS NULL THEN 0 ELSE coalesce(NEW.file_size, 0) END;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF come <> 0 THEN
      INSERT INTO user_totals AS kept (user_id, stored_bytes) VALUES (NEW.user_id, come)
      ON CONFLICT (user_id) DO UPDATE SET stored_bytes = kept.stored_bytes + come;
    END IF;
  ELSIF come <> gone THEN
    UPDATE user_totals SET stored_bytes = stored_bytes + come - gone WHERE user_id = OLD.user_id;
  END IF;
  RETURN NULL;
END $$;
--
CREATE TRIGGER count_file AFTER INSERT OR DELETE OR UPDATE OF file_path, file_size ON download_history
FOR EACH ROW EXECUTE FUNCTION count_file_v1();
