/**
 * Takes invocations up, all of a worker's wants at once and within the database: nothing is held while a server that has
 * been stopped in the middle of it does not go on.
 *
 * Of a connector no more run at once than its maximum, whichever servers run them. So that two servers do not both fill
 * the room that is left, one at a time claims of a connector; they queue in one order, and wait for nothing else, so no two
 * can wait for each other. Each statement of a function sees what was committed before it began, what the server before
 * has claimed included.
 *
 * Answers a row for each invocation with when it was due and whether the worker before was in the middle of it, and one
 * without an invocation for each connector that has no room for more.
 */
export const CLAIM_INVOCATIONS = `create function claim_invocations(wants json, now_at bigint, lease_end bigint)
  returns table (connector text, was_due bigint, interrupted boolean, claimed invocations)
  language plpgsql as $$
#variable_conflict use_column
declare
  want record;
  room bigint;
  taken bigint;
begin
  for want in
    select w."connectorId" as connector_id, w."tenantId" as tenant_id, w."limit" as most, w."maxConcurrency" as ceiling,
      hashtextextended('claim ' || w."connectorId", 0) as turn
    from json_to_recordset(wants) as w ("connectorId" text, "tenantId" text, "limit" bigint, "maxConcurrency" bigint)
    order by turn
  loop
    perform pg_advisory_xact_lock(want.turn);
    select greatest(0, want.ceiling - count(*)) into room from invocations
      where connector_id = want.connector_id and status = 'running' and native is null and due_at > now_at;
    return query
      with due as (
        select request_id as id, due_at as since, status = 'running' and native is null as in_the_middle from invocations
        where connector_id = want.connector_id and tenant_id = want.tenant_id and due_at <= now_at
        order by due_at, request_id limit least(want.most, room) for no key update skip locked
      )
      update invocations set status = 'running', due_at = lease_end, fence = fence + 1,
        takeovers = takeovers + case when in_the_middle then 1 else 0 end
      from due where request_id = id
      returning want.connector_id, since, in_the_middle, invocations;
    get diagnostics taken = row_count;
    if room < want.most and taken = room then
      return query select want.connector_id, null::bigint, null::boolean, null::invocations;
    end if;
  end loop;
end $$`;
