-- Records invalidations in a shared log and tells what has been recorded behind a known position.
--
-- KEYS[1]  the log: a sorted set without an expiry, in which all is kept that a namespace knows of
--          its invalidations. Being one key, it is lost as a whole or not at all.
--            E<epoch>   +inf   names this life of the log
--            R<replid>  +inf   the replication id of the server that began it
--            F<number>  +inf   the floor: invalidations up to here may have been forgotten
--            H          head   the latest number given out
--            <other>    number of the latest invalidation that says this
-- ARGV     1 the epoch asked about, or ''      2 the position known in it
--          3 the name of a new epoch, if one has to begin
--          4 how many invalidations to keep    5 how many to tell at most
--          6 an epoch to end, or ''            7 a channel to announce new numbers on, or ''
--          then any number of groups: how many, and that many invalidations
--
-- Answers  OK, epoch, head, floor, milliseconds on this server's clock, then pairs of an
--          invalidation and its number; or NO and the reason.
local log = KEYS[1]
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master', 1, true) then
  return {'NO', 'this server is a replica'}
end
-- A new one with every start and every promotion: whatever this server may have lost, it ends the
-- epoch.
local replid = string.match(info, 'master_replid:(%w+)')

-- Writes nothing, and is refused like a write: by a server that cannot save, or that too few
-- replicas follow. Its log may be overtaken by another's.
local writable = redis.pcall('PERSIST', log)
if type(writable) == 'table' and writable.err then
  return {'NO', writable.err}
end

local epoch, id, floor
local known = redis.pcall('ZRANGEBYSCORE', log, '+inf', '+inf')
if not known.err then
  for _, member in ipairs(known) do
    local kind, text = string.sub(member, 1, 1), string.sub(member, 2)
    if kind == 'E' then epoch = text
    elseif kind == 'R' then id = text
    elseif kind == 'F' then floor = tonumber(text) end
  end
end
local head = epoch and tonumber(redis.call('ZSCORE', log, 'H'))

if not head or not floor or id ~= replid or epoch == ARGV[6] then
  redis.call('DEL', log)
  epoch, head, floor = ARGV[3], 0, 0
  redis.call('ZADD', log, '+inf', 'E' .. epoch, '+inf', 'R' .. replid, '+inf', 'F0', 0, 'H')
end

local at = 8
while ARGV[at] do
  local size = tonumber(ARGV[at])
  head = head + 1
  for i = at + 1, at + size do
    redis.call('ZADD', log, head, ARGV[i])
  end
  at = at + size + 1
end
if at > 8 then
  redis.call('ZADD', log, head, 'H')
  local most = tonumber(ARGV[4])
  local over = redis.call('ZCARD', log) - 4 - most
  if over > 0 then
    -- Some more than must go, so that this is not done for each.
    local last = over + math.floor(most / 16) - 1
    local oldest = redis.call('ZRANGE', log, last, last, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', log, 0, last)
    redis.call('ZADD', log, head, 'H')
    redis.call('ZREM', log, 'F' .. string.format('%.0f', floor))
    floor = tonumber(oldest[2])
    redis.call('ZADD', log, '+inf', 'F' .. string.format('%.0f', floor))
  end
  if ARGV[7] ~= '' then
    redis.pcall('PUBLISH', ARGV[7], string.format('%.0f', head))
  end
end

local time = redis.call('TIME')
local answer = {'OK', epoch, head, floor, time[1] * 1000 + math.floor(time[2] / 1000)}
local from = floor
if ARGV[1] == epoch and tonumber(ARGV[2]) > floor then from = tonumber(ARGV[2]) end
if from < head then
  local most = tonumber(ARGV[5])
  local behind = redis.call('ZRANGEBYSCORE', log, '(' .. string.format('%.0f', from), '(+inf',
    'WITHSCORES', 'LIMIT', 0, most + 1)
  if #behind > 2 * most then
    -- Too much to tell: all of it counts as forgotten.
    answer[4] = head
  else
    for i = 1, #behind, 2 do
      if behind[i] ~= 'H' then
        answer[#answer + 1] = behind[i]
        answer[#answer + 1] = behind[i + 1]
      end
    end
  end
end
return answer
