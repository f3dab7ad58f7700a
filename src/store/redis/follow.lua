-- Records invalidations in a shared log, and returns those recorded behind a known position.
--
-- KEYS[1]  the log: a sorted set without an expiry, which holds everything that a namespace knows of
--          its invalidations. Being one key, it is lost as a whole or not at all.
--            <history> <epoch> <floor>   +inf
--                      the replication id of the server that began this life of the log, in the
--                      words of INFO; its name; and the number up to which invalidations may have
--                      been forgotten
--            <other>   number of the latest invalidation that says this; the greatest is the head,
--                      the latest number given out
-- ARGV     1 the epoch asked about, or ''      2 the position known in it
--          3 how many invalidations to return at most
--          and, unless this is a question alone:
--          4 the name of a new epoch, if one has to begin
--          5 how many invalidations to keep    6 an epoch to end, or ''
--          7 a channel to announce new numbers on, or ''
--          then any number of groups: how many, and that many invalidations; one at least
--
-- Returns  OK, epoch, head, floor, milliseconds on this server's clock, then pairs of an
--          invalidation and its number, those that were just recorded among them; or NO and the
--          reason. To a question alone: the milliseconds where nothing is new, and NAME where a new
--          epoch has to begin.
--
-- Every lookup of every node runs this, so it makes few calls: each costs about as much as everything
-- that is done with its answer.
local log = KEYS[1]
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master', 1, true) then
  return {'NO', 'this server is a replica'}
end
-- Before Redis 7 a server that too few replicas follow lets a script write. INFO has this line only
-- where a number of them is demanded.
if string.find(info, 'min_slaves_good_slaves:0', 1, true) then
  return {'NO', 'no replica follows this server'}
end

-- Writes nothing, and is refused like a write: by a server that cannot save, or that too few replicas
-- follow. Its log may be overtaken by another's. And writes after it are let through when memory is
-- full.
local writable = redis.pcall('PERSIST', log)
if type(writable) == 'table' and writable.err then
  return {'NO', writable.err}
end

-- The mark, and one of those with the greatest number. Of anything but a sorted set: an error.
local top = redis.pcall('ZRANGE', log, 0, 1, 'REV', 'WITHSCORES')
local mark = top[2] == 'inf' and top[1] or ''
local history, epoch, floor = string.match(mark, '^(master_replid:%x+) (%x+) (%d+)$')
local head = top[4] or '0'

-- A server has a new id with every start and every promotion: whatever it may have lost, that ends
-- the epoch.
if not history or epoch == ARGV[6] or not string.find(info, history, 1, true) then
  if not ARGV[4] then return {'NAME'} end
  redis.call('DEL', log)
  history, epoch, floor, head = string.match(info, 'master_replid:%x+'), ARGV[4], '0', '0'
  mark = history .. ' ' .. epoch .. ' 0'
  redis.call('ZADD', log, '+inf', mark)
end

local time = redis.call('TIME')
local milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {'OK', epoch, head, floor, milliseconds}

-- These are texts: a number that is written in another way does not match, and no more.
if epoch == ARGV[1] and head == ARGV[2] then
  if not ARGV[4] then return milliseconds end
else
  local most, from = tonumber(ARGV[3]), floor
  if epoch == ARGV[1] and tonumber(ARGV[2]) > tonumber(floor) then from = ARGV[2] end
  local behind = redis.call('ZRANGEBYSCORE', log, '(' .. from, '(+inf',
    'WITHSCORES', 'LIMIT', 0, most + 1)
  if #behind > 2 * most then
    -- Too many to return: all of them count as forgotten.
    answer[4] = head
  else
    for i = 1, #behind do answer[5 + i] = behind[i] end
  end
end

if ARGV[8] then
  local at, returned, added, number = 8, #answer, 0, tonumber(head)
  while ARGV[at] do
    local size = tonumber(ARGV[at])
    number = number + 1
    for i = at + 1, at + size do
      added = added + redis.call('ZADD', log, number, ARGV[i])
      answer[returned + 1], answer[returned + 2] = ARGV[i], number
      returned = returned + 2
    end
    at = at + size + 1
  end
  answer[3] = number
  if added > 0 then
    local most = tonumber(ARGV[5])
    local over = redis.call('ZCARD', log) - 1 - most
    if over > 0 then
      -- Some more than necessary, so that this is not done for each. Never the latest.
      local last = over + math.floor(most / 16) - 1
      floor = redis.call('ZRANGE', log, last, last, 'WITHSCORES')[2]
      -- The mark first: whatever fails here, nothing is forgotten without a floor that says so.
      redis.call('ZREM', log, mark)
      redis.call('ZADD', log, '+inf', history .. ' ' .. epoch .. ' ' .. floor)
      redis.call('ZREMRANGEBYRANK', log, 0, last)
      if tonumber(floor) > tonumber(answer[4]) then answer[4] = floor end
    end
  end
  if ARGV[7] ~= '' then
    redis.pcall('PUBLISH', ARGV[7], number)
  end
end
return answer
