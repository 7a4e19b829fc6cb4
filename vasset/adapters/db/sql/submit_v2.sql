-- The usual submission in one call; adapters/db/quick_submission.py says why. It decides nothing that task_submission.py does not decide as
-- well, and answers no row where that has to. The key is claimed before the lock on the quota row, as there: in another order two equal
-- requests could wait for each other. In a volatile function every statement sees what was committed before it began, so the count of
-- unfinished tasks sees what was committed before this call got that lock.
CREATE FUNCTION submit_v2(
  of_user bigint, new_id text, new_key text, hash bytea, quota integer, most_unfinished integer, clock timestamptz,
  new_url text, new_site text, new_mode text, new_title text, new_duration double precision, new_quality text, new_container text, subtitles boolean,
  new_intent text, wake_up_key text, wake_up json
) RETURNS TABLE (kept_as bigint, accepted_at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  moment timestamptz := coalesce(clock, now());
  today date := (moment AT TIME ZONE 'UTC')::date;
  tomorrow timestamptz := (today + 1)::timestamp AT TIME ZONE 'UTC';
  used integer;
  unfinished integer;
  debited date;
  entry bigint;
BEGIN
  IF new_key IS NOT NULL THEN
    INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at) VALUES (of_user, new_key, hash, new_id, moment)
      ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN; END IF;
  END IF;
  INSERT INTO user_quotas (user_id, day, daily_limit, daily_used, reset_at, updated_at)
    SELECT of_user, today, quota, 0, tomorrow, moment WHERE NOT EXISTS (SELECT FROM user_quotas WHERE user_id = of_user)
    ON CONFLICT DO NOTHING;
  SELECT CASE WHEN day >= today THEN daily_used ELSE 0 END INTO used FROM user_quotas WHERE user_id = of_user FOR NO KEY UPDATE;
  SELECT queued + retry + running + paused INTO unfinished FROM user_totals WHERE user_id = of_user;
  IF used >= quota OR unfinished >= most_unfinished THEN
    DELETE FROM idempotency_keys WHERE user_id = of_user AND key = new_key;
    RETURN;
  END IF;
  UPDATE user_quotas SET
    daily_used = used + 1,
    reset_at = CASE WHEN day >= today THEN reset_at ELSE tomorrow END,
    day = greatest(day, today), daily_limit = quota, updated_at = moment
    WHERE user_id = of_user RETURNING day INTO debited;
  INSERT INTO download_history (task_id, user_id, url, mode, title, duration_seconds, status, removing, created_at)
    VALUES (new_id, of_user, new_url, new_mode, new_title, new_duration, 'queued', false, moment) RETURNING id INTO entry;
  INSERT INTO tasks (id, history_id, user_id, url, site, mode, title, duration_seconds, quality, container, with_subtitles, status, phase, intent,
    attempt, fence, woken_at, debits, quota_day, downloaded_bytes, created_at, updated_at)
    VALUES (new_id, entry, of_user, new_url, new_site, new_mode, new_title, new_duration, new_quality, new_container, subtitles, 'queued', 'queued',
    new_intent, 0, 0, moment, 1, debited, 0, moment, moment);
  INSERT INTO quota_ledger (user_id, task_id, kind, n, day, created_at) VALUES (of_user, new_id, 'debit', 1, debited, moment);
  INSERT INTO outbox (routing_key, task_id, body, created_at) VALUES (wake_up_key, new_id, wake_up, moment);
  RETURN QUERY SELECT entry, moment;
END $$;
