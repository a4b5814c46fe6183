-- What wrk got, as one line of JSON behind its own report: its errors, and how many answers had each body (or status but 200).
local threads = {}
answers = {}

function setup(thread)
  table.insert(threads, thread)
end

function response(status, _, body)
  local what = status == 200 and body or tostring(status)
  answers[what] = (answers[what] or 0) + 1
end

local function object(of)
  local entries = {}
  for name, value in pairs(of) do
    table.insert(entries, string.format('"%s":%s', name, value))
  end
  return "{" .. table.concat(entries, ",") .. "}"
end

function done(summary)
  local total = {}
  for _, thread in ipairs(threads) do
    for what, count in pairs(thread:get("answers")) do
      total[what] = (total[what] or 0) + count
    end
  end
  print(object({ errors = object(summary.errors), answers = object(total) }))
end
