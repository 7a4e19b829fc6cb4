-- Keeps "user_totals" (tables.py) true: created by the migration that names this file; a change is a new file.
CREATE TRIGGER count_new_task AFTER INSERT ON tasks
BEGIN
  INSERT INTO user_totals (user_id, queued, running, retry, paused, completed, failed, cancelled, hidden_completed, hidden_failed, hidden_cancelled, downloaded_bytes, completed_day, completed_that_day, first_waiting)
  VALUES (NEW.user_id, NEW.status = 'queued', NEW.status = 'running', NEW.status = 'retry', NEW.status = 'paused', NEW.status = 'completed', NEW.status = 'failed', NEW.status = 'cancelled', NEW.status = 'completed' AND NEW.deleted_at IS NOT NULL, NEW.status = 'failed' AND NEW.deleted_at IS NOT NULL, NEW.status = 'cancelled' AND NEW.deleted_at IS NOT NULL,
    CASE WHEN NEW.status = 'completed' THEN NEW.downloaded_bytes ELSE 0 END,
    CASE WHEN NEW.status = 'completed' THEN date(NEW.completed_at) END, NEW.status = 'completed',
    CASE WHEN NEW.status IN ('queued', 'retry') THEN NEW.history_id END)
  ON CONFLICT (user_id) DO UPDATE SET
    queued = queued + excluded.queued,
    running = running + excluded.running,
    retry = retry + excluded.retry,
    paused = paused + excluded.paused,
    completed = completed + excluded.completed,
    failed = failed + excluded.failed,
    cancelled = cancelled + excluded.cancelled,
    hidden_completed = hidden_completed + excluded.hidden_completed,
    hidden_failed = hidden_failed + excluded.hidden_failed,
    hidden_cancelled = hidden_cancelled + excluded.hidden_cancelled,
    downloaded_bytes = downloaded_bytes + excluded.downloaded_bytes,
    completed_that_day = CASE
      WHEN excluded.completed_day IS NULL OR completed_day > excluded.completed_day THEN completed_that_day
      WHEN completed_day = excluded.completed_day THEN completed_that_day + 1 ELSE 1 END,
    completed_day = max(coalesce(completed_day, excluded.completed_day), coalesce(excluded.completed_day, completed_day)),
    first_waiting = min(coalesce(first_waiting, excluded.first_waiting), coalesce(excluded.first_waiting, first_waiting));
END;
--
CREATE TRIGGER count_changed_task AFTER UPDATE OF status, deleted_at ON tasks
WHEN OLD.status != NEW.status OR (OLD.deleted_at IS NULL) != (NEW.deleted_at IS NULL)
BEGIN
  UPDATE user_totals SET
    queued = queued - (OLD.status = 'queued') + (NEW.status = 'queued'),
    running = running - (OLD.status = 'running') + (NEW.status = 'running'),
    retry = retry - (OLD.status = 'retry') + (NEW.status = 'retry'),
    paused = paused - (OLD.status = 'paused') + (NEW.status = 'paused'),
    completed = completed - (OLD.status = 'completed') + (NEW.status = 'completed'),
    failed = failed - (OLD.status = 'failed') + (NEW.status = 'failed'),
    cancelled = cancelled - (OLD.status = 'cancelled') + (NEW.status = 'cancelled'),
    hidden_completed = hidden_completed - (OLD.status = 'completed' AND OLD.deleted_at IS NOT NULL) + (NEW.status = 'completed' AND NEW.deleted_at IS NOT NULL),
    hidden_failed = hidden_failed - (OLD.status = 'failed' AND OLD.deleted_at IS NOT NULL) + (NEW.status = 'failed' AND NEW.deleted_at IS NOT NULL),
    hidden_cancelled = hidden_cancelled - (OLD.status = 'cancelled' AND OLD.deleted_at IS NOT NULL) + (NEW.status = 'cancelled' AND NEW.deleted_at IS NOT NULL),
    downloaded_bytes = downloaded_bytes - CASE WHEN OLD.status = 'completed' THEN OLD.downloaded_bytes ELSE 0 END
      + CASE WHEN NEW.status = 'completed' THEN NEW.downloaded_bytes ELSE 0 END,
    completed_that_day = CASE
      WHEN NEW.status != 'completed' OR OLD.status = 'completed' OR completed_day > date(NEW.completed_at) THEN completed_that_day
      WHEN completed_day = date(NEW.completed_at) THEN completed_that_day + 1 ELSE 1 END,
    completed_day = CASE
      WHEN NEW.status != 'completed' OR OLD.status = 'completed' OR completed_day > date(NEW.completed_at) THEN completed_day
      ELSE date(NEW.completed_at) END,
    first_waiting = CASE
      WHEN OLD.status NOT IN ('queued', 'retry') AND NEW.status NOT IN ('queued', 'retry') THEN first_waiting
      ELSE (SELECT min(history_id) FROM tasks WHERE user_id = NEW.user_id AND status IN ('queued', 'retry')) END
  WHERE user_id = NEW.user_id;
END;
--
CREATE TRIGGER count_removed_task AFTER DELETE ON tasks
BEGIN
  UPDATE user_totals SET
    queued = queued - (OLD.status = 'queued'),
    running = running - (OLD.status = 'running'),
    retry = retry - (OLD.status = 'retry'),
    paused = paused - (OLD.status = 'paused'),
    completed = completed - (OLD.status = 'completed'),
    failed = failed - (OLD.status = 'failed'),
    cancelled = cancelled - (OLD.status = 'cancelled'),
    hidden_completed = hidden_completed - (OLD.status = 'completed' AND OLD.deleted_at IS NOT NULL),
    hidden_failed = hidden_failed - (OLD.status = 'failed' AND OLD.deleted_at IS NOT NULL),
    hidden_cancelled = hidden_cancelled - (OLD.status = 'cancelled' AND OLD.deleted_at IS NOT NULL),
    downloaded_bytes = downloaded_bytes - CASE WHEN OLD.status = 'completed' THEN OLD.downloaded_bytes ELSE 0 END,
    first_waiting = (SELECT min(history_id) FROM tasks WHERE user_id = OLD.user_id AND status IN ('queued', 'retry'))
  WHERE user_id = OLD.user_id;
END;
--
CREATE TRIGGER count_new_file AFTER INSERT ON download_history WHEN NEW.file_path IS NOT NULL
BEGIN
  INSERT INTO user_totals (user_id, stored_bytes) VALUES (NEW.user_id, coalesce(NEW.file_size, 0))
  ON CONFLICT (user_id) DO UPDATE SET stored_bytes = stored_bytes + excluded.stored_bytes;
END;
--
CREATE TRIGGER count_changed_file AFTER UPDATE OF file_path, file_size ON download_history
WHEN OLD.file_path IS NOT NEW.file_path OR OLD.file_size IS NOT NEW.file_size
BEGIN
  UPDATE user_totals SET stored_bytes = stored_bytes
    - CASE WHEN OLD.file_path IS NULL THEN 0 ELSE coalesce(OLD.file_size, 0) END
    + CASE WHEN NEW.file_path IS NULL THEN 0 ELSE coalesce(NEW.file_size, 0) END
  WHERE user_id = NEW.user_id;
END;
--
CREATE TRIGGER count_removed_file AFTER DELETE ON download_history WHEN OLD.file_path IS NOT NULL
BEGIN
  UPDATE user_totals SET stored_bytes = stored_bytes - coalesce(OLD.file_size, 0) WHERE user_id = OLD.user_id;
END;
