# SPDX-License-Identifier: BSD-2-Clause
# The served OpenAPI description: it names the routes of core/head/routes.def and no others, and real answers fit
# its schemas.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 2 || exit 1
api=$url/api/v1

curl -s -m 10 "$api/openapi.json" >openapi.json
is 'it is OpenAPI 3.1' "$(jq -r .openapi openapi.json)" 3.1.0
is 'it describes each route and no other' "$(jq -r '.paths|to_entries[]|.key as $p|.value|keys[]|ascii_upcase+" "+$p' openapi.json | sort)" \
    "$(sed -n 's/^ROUTE("\([A-Z]*\)", "\([^"]*\)".*/\1 \2/p' "$top/core/head/routes.def" | sort)"
is 'the query parameters of each are those that it takes' \
    "$(jq -r '.paths|to_entries[]|.key as $p|.value|to_entries[]|"\(.key|ascii_upcase) \($p) \([.value.parameters[]?|select(.in=="query").name]|join(" "))"' openapi.json | sort)" \
    "$(sed -n 's/^ROUTE("\([A-Z]*\)", "\([^"]*\)", [a-z_]*, "\([^"]*\)")/\1 \2 \3/p' "$top/core/head/routes.def" | sort)"
is 'all references lead somewhere' "$(jq -r '. as $d|[..|objects|.["$ref"]?|strings]|unique[]|ltrimstr("#/")|split("/") as $p|select(($d|getpath($p))==null)|join("/")' openapi.json)" ''
is 'operation ids are unique' "$(jq -r '[.paths[][].operationId]|group_by(.)[]|select(length>1)|.[0]' openapi.json)" ''
for part in id name; do
    is "path parameters are described: $part" "$(jq -r --arg part "$part" '.paths|to_entries[]|select(.key|contains("{"+$part+"}"))|.value[]|select([.parameters[]?|select(.in=="path" and .name==$part)]|length!=1)|.operationId' openapi.json)" ''
done

# A small JSON Schema checker: prints what does not fit.
cat >check.jq <<'J'
def kind: if type == "number" and . == floor then "integer" else type end;
def fits($t): kind as $k | $t | if type == "array" then any(.[]; . == $k or (. == "number" and $k == "integer")) else . == $k or (. == "number" and $k == "integer") end;
def check($doc; $s; $at):
  . as $v
  | if $s == true or $s == {} then empty
    elif $s["$ref"] then check($doc; $doc | getpath($s["$ref"] | ltrimstr("#/") | split("/")); $at)
    else
      (if $s.type and (fits($s.type) | not) then "\($at): \($v | kind) instead of \($s.type)" else empty end),
      (if ($s | has("const")) and $v != $s.const then "\($at): not \($s.const)" else empty end),
      (if $s.enum and ([$s.enum[] == $v] | any | not) then "\($at): \($v) is none of \($s.enum)" else empty end),
      (if $s.pattern and ($v | type) == "string" and ($v | test($s.pattern) | not) then "\($at): \($v) does not match \($s.pattern)" else empty end),
      (if $s.format == "date-time" and ($v | type) == "string" and ($v | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\\.[0-9]+)?Z$") | not) then "\($at): \($v) is no time" else empty end),
      (if $s.minimum and ($v | type) == "number" and $v < $s.minimum then "\($at): \($v) is less than \($s.minimum)" else empty end),
      (if $s.maximum and ($v | type) == "number" and $v > $s.maximum then "\($at): \($v) is more than \($s.maximum)" else empty end),
      ($s.allOf // [] | .[] | . as $part | $v | check($doc; $part; $at)),
      (($s.oneOf // $s.anyOf // null) as $list
       | if $list and all($list[]; . as $part | [$v | check($doc; $part; $at)] | length > 0) then "\($at): fits none of its forms" else empty end),
      (if ($v | type) == "object" then
         ($s.required // [] | .[] | select(. as $k | $v | has($k) | not) | "\($at): \(.) is missing"),
         ($v | to_entries[] | .key as $k | .value as $x
          | if $s.properties[$k]? != null then $x | check($doc; $s.properties[$k]; "\($at).\($k)")
            elif $s.properties == null or $s.additionalProperties == true then empty
            elif ($s.additionalProperties | type) == "object" then $x | check($doc; $s.additionalProperties; "\($at).\($k)")
            else "\($at).\($k): is not described" end)
       else empty end),
      (if ($v | type) == "object" and $s.properties == null and ($s.additionalProperties | type) == "object"
       then ($v | to_entries[] | .key as $k | .value | check($doc; $s.additionalProperties; "\($at).\($k)")) else empty end),
      (if ($v | type) == "array" and $s.items then range($v | length) as $i | $v[$i] | check($doc; $s.items; "\($at)[\($i)]") else empty end)
    end;
# All parts of an allOf know only some of the properties: put them together first.
def merged($doc):
  if type == "object" and .allOf then
    reduce (.allOf[] | if .["$ref"] then . as $r | $doc | getpath($r["$ref"] | ltrimstr("#/") | split("/")) else . end) as $p
      ({type: "object", properties: {}, required: []}; .properties += ($p.properties // {}) | .required += ($p.required // []))
  else . end;
$doc[0] as $d | ($d.paths[$path][$method].responses | .[$status] // .default) as $r
| (if $r["$ref"] then $d | getpath($r["$ref"] | ltrimstr("#/") | split("/")) else $r end) as $r
| ($r.content["application/json"].schema | merged($d)) as $s
| if $s == null then "no schema for \($method) \($path) \($status)" else check($d; $s; "") end
J

# fits METHOD PATH-IN-THE-DOCUMENT PATH [CURL-ARG...]
fits() {
    method=$1 path=$2 real=$3
    shift 3
    status=$(curl -s -m 10 -o answer.json -w '%{http_code}' -X "$method" "$url$real" "$@")
    is "$method $real ($status) fits its schema" \
        "$(jq -r --slurpfile doc openapi.json --arg path "$path" --arg method "$(echo "$method" | tr A-Z a-z)" --arg status "$status" -f check.jq answer.json 2>&1)" ''
    fits_all="${fits_all-}
$method $path"
}
J='Content-Type: application/json'
p=/api/v1

# the checker itself must be able to say no
echo '{"api":2,"frob":1}' >answer.json
is 'the checker finds what is wrong' "$(jq -r --slurpfile doc openapi.json --arg path "$p/jobs/{id}/attempts" --arg method get --arg status 200 -f check.jq answer.json | sort)" '.api: not 1
.frob: is not described
: attempts is missing'

fits POST $p/jobs/submit $p/jobs/submit -H "$J" -d '{"command":"echo hi","name":"n","threads":2,"memory":"100M","priority":3,"timeout":"1h","retry":1,"env":{"A":"b"}}'
id=$(jq -r .id answer.json)
fits POST $p/jobs/submit "$p/jobs/submit?dry_run=true" -H "$J" -d '{"command":"true","timeout":5}'
fits POST $p/jobs/submit "$p/jobs/submit?dry_run=true" -H "$J" \
    -d '{"command":"true","array":"1-9:2%3","env":{"A":"b"},"retry":2,"retry_delay":1,"on_lost":"requeue","stdout_path":"a%j","hold":true,"priority":1}'
fits POST $p/jobs/submit "$p/jobs/submit?dry_run=true" -H "$J" -d '{"command":"true","lines":["a","b"],"array_limit":1}'
fits POST $p/jobs/submit $p/jobs/submit -H "$J" -d '{"command":"true","after":["'"$id"':any"]}'
fits POST $p/jobs/submit $p/jobs/submit -H "$J" -d '{"frob":1}'
fits POST $p/jobs/bulk $p/jobs/bulk -H "$J" -d '{"jobs":[{"command":"exit 3"},{"command":"kill -9 $$"},{"argv":["no-such-program"]},{"command":"true","hold":true}]}'
first=$(jq -r .first_id answer.json)
fits POST $p/jobs/bulk $p/jobs/bulk -H "$J" -d '{"jobs":5}'
fits POST $p/jobs/submit $p/jobs/submit -H "$J" -d '{"command":"true","array":"1-9:2%1"}'
array=$(jq -r .id answer.json)
for job in $id "$first" $((first + 1)) $((first + 2)) "$array"; do curl -s -m 20 "$api/jobs/$job?wait=20" >/dev/null; done
curl -s -X POST "$api/jobs/submit" -H "$J" -d '{"command":"exec sleep 1000"}' >/dev/null
for job in $id "$first" $((first + 1)) $((first + 2)) $((first + 3)) "$array" "${array}_3"; do
    fits GET "$p/jobs/{id}" "$p/jobs/$job"
    fits GET "$p/jobs/{id}/attempts" "$p/jobs/$job/attempts"
    fits GET "$p/jobs/{id}/explain" "$p/jobs/$job/explain"
done
more=$(curl -s -X POST "$api/jobs/submit" -H "$J" -d '{"command":"true","array":"1-9","hold":true}' | jq -r .id)
fits GET "$p/jobs/{id}/explain" "$p/jobs/${more}_9/explain"
fits GET "$p/jobs/{id}" "$p/jobs/${more}_10/explain"
fits GET "$p/jobs/{id}" "$p/jobs/99999"
fits GET "$p/jobs/{id}" "$p/jobs/frob"
fits GET "$p/jobs/{id}/logs" "$p/jobs/99999/logs"
fits GET $p/jobs $p/jobs
fits GET $p/jobs "$p/jobs?limit=1"
fits GET $p/jobs "$p/jobs?array=$array"
fits GET $p/jobs "$p/jobs?order=queue"
fits GET $p/jobs "$p/jobs?order=finished&limit=2"
fits GET $p/jobs "$p/jobs?status=frob"
for what in hold release cancel; do
    fits POST "$p/jobs/{id}/$what" "$p/jobs/$((first + 3))/$what"
    [ $what = cancel ] || continue
    fits POST "$p/jobs/{id}/$what" "$p/jobs/$((first + 3))/$what"
done
fits POST "$p/jobs/{id}/retry" "$p/jobs/$first/retry"
fits POST "$p/jobs/{id}/retry" "$p/jobs/99999/retry"
fits POST $p/nodes $p/nodes -H "$J" -d '{"host":"127.0.0.1:1","name":"far","threads":2,"memory":"1G","any":true}'
fits POST $p/nodes $p/nodes -H "$J" -d '{"host":"127.0.0.1:1","name":"far"}'
fits POST $p/nodes $p/nodes -H "$J" -d '{"host":"-o"}'
fits GET "$p/nodes/{name}" "$p/nodes/far"
fits GET "$p/nodes/{name}" "$p/nodes/frob"
fits POST "$p/nodes/{name}/connect" "$p/nodes/far/connect"
fits GET "$p/nodes/{name}/metrics" "$p/nodes/far/metrics?seconds=60&points=5&series=load1,cpu_percent"
fits GET "$p/nodes/{name}/metrics" "$p/nodes/far/metrics?series=frob"
fits GET "$p/nodes/{name}/metrics" "$p/nodes/frob/metrics"
fits DELETE "$p/nodes/{name}" "$p/nodes/far"
fits DELETE "$p/nodes/{name}" "$p/nodes/frob"
fits POST $p/allocations $p/allocations -H "$J" -d '{"command":"gimp x.png","dry_run":true}'
fits POST $p/allocations $p/allocations -H "$J" -d '{"argv":["firefox","-x"],"memory":"1M"}'
place=$(jq -r .allocation.id answer.json)
fits POST $p/allocations $p/allocations -H "$J" -d '{"command":"gimp","host":"frob"}'
fits POST $p/allocations $p/allocations -H "$J" -d '{"command":"gimp","memory":"900T"}'
fits POST $p/allocations $p/allocations -H "$J" -d '{"command":""}'
fits POST "$p/allocations/{id}/report" "$p/allocations/$place/report" -H "$J" -d '{"pid":5,"memory_bytes":1000000,"cpu_percent":12.5,"ended":false}'
fits POST "$p/allocations/{id}/report" "$p/allocations/$place/report" -H "$J" -d '{"cpu_percent":-1}'
fits DELETE "$p/allocations/{id}" "$p/allocations/$place"
fits DELETE "$p/allocations/{id}" "$p/allocations/$place"
for path in nodes status cluster/status health version; do fits GET $p/$path $p/$path; done
is 'every route with a JSON answer was tried' \
    "$(jq -r '.paths|to_entries[]|.key as $p|.value|to_entries[]|select(.value.responses["200"].content["application/json"].schema)|(.key|ascii_upcase)+" "+$p' openapi.json | grep -v openapi.json | sort)" \
    "$(printf '%s\n' "$fits_all" | grep . | grep -v '/logs$' | sort -u)"

# requests: each field of a specification is described, and each described field is taken
is 'the fields of a job specification' "$(jq -r '.components.schemas.JobSpec.properties|keys[]' openapi.json | sort)" \
    "$(sed -n '/spec_fields\[\] = {/,/};/{s/"/\n/g;p}' "$top/core/head/spec.c" | grep -E '^[a-z_]+$' | grep -v static | sort)"
is 'the statuses' "$(jq -r '[.components.schemas.Status.enum[]]|sort|join(" ")' openapi.json)" 'cancelled failed lost oom queued running succeeded timeout'

# values out of range as described are refused
jq -r '.components.schemas.JobSpec.properties|to_entries[]|select(.value.type=="integer")|(select(.value.minimum)|"\(.key) \(.value.minimum-1)"),(select(.value.maximum)|"\(.key) \(.value.maximum+1)")' openapi.json >ranges
while read -r field value; do
    is "$field $value is refused" "$(curl -s -o answer.json -w '%{http_code}' "$api/jobs/submit?dry_run=1" -H "$J" -d "{\"command\":\"x\",\"$field\":$value}")" 400
done <ranges

done_testing
