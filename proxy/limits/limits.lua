-- Lets a request in where every subject's limits have room for it, and counts it: all in one step.
--
-- KEYS: per subject its requests, tokens (hashes: second -> amount), places (sorted set: member -> deadline in
--       milliseconds), day and month (counters).
-- ARGV: estimate, member, seconds that an amount is kept, milliseconds that a place is held unless renewed;
--       then per subject: requests and tokens per minute, concurrent, tokens per day and month (-1: no limit),
--       what this process knows to be spent of the day and of the month.
-- Answer: {0, second, per subject: requests used, ms until none is, tokens used, ms until none is}, or
--         {subject, kind (1 concurrent, 2 requests, 3 tokens, 4 day, 5 month), ms until there is room}.

local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000 + math.floor(tonumber(time[2]) / 1000)
local estimate, member = tonumber(ARGV[1]), ARGV[2]
local kept, lease = tonumber(ARGV[3]), tonumber(ARGV[4])
local count = #KEYS / 5

-- What is in a window: the sum, and the seconds in order.
local function window(key)
  local all, sum, seconds, old = redis.call('HGETALL', key), 0, {}, {}
  for i = 1, #all, 2 do
    local at, amount = tonumber(all[i]), tonumber(all[i + 1])
    if at <= second - kept then
      old[#old + 1] = all[i]
    else
      sum = sum + amount
      seconds[#seconds + 1] = {at, amount}
    end
  end
  if #old > 0 then redis.call('HDEL', key, unpack(old)) end
  table.sort(seconds, function(a, b) return a[1] < b[1] end)
  return sum, seconds
end

local function wait(seconds, amount)
  for _, each in ipairs(seconds) do
    amount = amount - each[2]
    if amount <= 0 then return (each[1] + kept) * 1000 - now end
  end
  return 0
end

local function reset(seconds)
  return #seconds > 0 and (seconds[#seconds][1] + kept) * 1000 - now or 0
end

local function spent(key, known, days)
  local stored = tonumber(redis.call('GET', key) or '0')
  if stored < known then
    redis.call('SET', key, known, 'EX', days * 86400)
    return known
  end
  return stored
end

local answer = {0, second}
for subject = 1, count do
  local key, arg = (subject - 1) * 5, 4 + (subject - 1) * 7
  local rpm, tpm, most = tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local day, month = tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  if most >= 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[key + 3], '-inf', now)
    if redis.call('ZCARD', KEYS[key + 3]) >= most then return {subject, 1, 0} end
  end
  local requests, request_seconds, tokens, token_seconds = 0, {}, 0, {}
  if rpm >= 0 then
    requests, request_seconds = window(KEYS[key + 1])
    if requests + 1 > rpm then return {subject, 2, wait(request_seconds, requests + 1 - rpm)} end
  end
  if tpm >= 0 then
    tokens, token_seconds = window(KEYS[key + 2])
    local over = tokens + math.min(estimate, tpm) - tpm
    if over > 0 then return {subject, 3, wait(token_seconds, over)} end
  end
  if day >= 0 and spent(KEYS[key + 4], tonumber(ARGV[arg + 6]), 2) + math.min(estimate, day) > day then
    return {subject, 4, 0}
  end
  if month >= 0 and spent(KEYS[key + 5], tonumber(ARGV[arg + 7]), 32) + math.min(estimate, month) > month then
    return {subject, 5, 0}
  end
  answer[#answer + 1] = requests + 1
  answer[#answer + 1] = rpm >= 0 and kept * 1000 or 0
  answer[#answer + 1] = tokens + estimate
  answer[#answer + 1] = (tpm >= 0 and estimate > 0) and kept * 1000 or reset(token_seconds)
end

for subject = 1, count do
  local key, arg = (subject - 1) * 5, 4 + (subject - 1) * 7
  if tonumber(ARGV[arg + 1]) >= 0 then
    redis.call('HINCRBY', KEYS[key + 1], second, 1)
    redis.call('EXPIRE', KEYS[key + 1], kept + 1)
  end
  if tonumber(ARGV[arg + 2]) >= 0 then
    redis.call('HINCRBY', KEYS[key + 2], second, estimate)
    redis.call('EXPIRE', KEYS[key + 2], kept + 1)
  end
  if tonumber(ARGV[arg + 3]) >= 0 then
    redis.call('ZADD', KEYS[key + 3], now + lease, member)
    redis.call('PEXPIRE', KEYS[key + 3], lease)
  end
  if tonumber(ARGV[arg + 4]) >= 0 then
    redis.call('INCRBY', KEYS[key + 4], estimate)
    redis.call('EXPIRE', KEYS[key + 4], 2 * 86400)
  end
  if tonumber(ARGV[arg + 5]) >= 0 then
    redis.call('INCRBY', KEYS[key + 5], estimate)
    redis.call('EXPIRE', KEYS[key + 5], 32 * 86400)
  end
end
return answer
