# SPDX-License-Identifier: Apache-2.0
# element: record
# task: base
# phase: common
# order: 40
# needs: core
# The guest record, from the tables.

# record: JSON of what was collected. A table that is not there is left out.
record() {
    for record_table in system nics links addresses routes dns files mounts; do
        [ ! -f "$WORK/tables/$record_table" ] ||
            sed "s/^/$record_table$TAB/" "$WORK/tables/$record_table"
    done | RECORD_TIME=$(now) RECORD_JOB=$JOB RECORD_FROM=$SOURCE \
        RECORD_TO=$TARGET RECORD_GENERATOR=$GENERATOR awk "$AWK"'
        function add(list, row) {
            seen[list] = 1
            rows[list] = rows[list] (rows[list] == "" ? "" : ",\n    ") row
        }
        function words(s,  n, part, i, out) {
            s = plain(s)
            n = split(s, part, " ")
            for (i = 1; i <= n; i++) out = out (i > 1 ? "," : "") json(part[i])
            return "[" out "]"
        }
        function list(name, key) {
            if (seen[name]) printf ",\n  \"%s\": [%s%s]", key,
                rows[name] == "" ? "" : "\n    ", rows[name]
        }
        $1 == "system" { system_value[$2] = $3 }
        $1 == "nics" {
            add("nics", "{\"mac\":" json_field($2) ",\"name\":" \
                json_field($3) ",\"driver\":" json_field($4) ",\"path\":" \
                json_field($5) ",\"mtu\":" json_number($6) ",\"up\":" \
                json_yes($7) ",\"master\":" json_field($8) "}")
        }
        $1 == "links" {
            add("links", "{\"name\":" json_field($2) ",\"kind\":" \
                json_field($3) ",\"mac\":" json_field($4) ",\"mtu\":" \
                json_number($5) ",\"up\":" json_yes($6) ",\"parent\":" \
                json_field($7) ",\"vlan_id\":" json_number($8) \
                ",\"members\":" words($9) "}")
        }
        $1 == "addresses" {
            add("addresses", "{\"interface\":" json_field($2) ",\"family\":" \
                json($3) ",\"address\":" json_field($4) ",\"prefix\":" \
                json_number($5) ",\"scope\":" json_field($6) ",\"dynamic\":" \
                json_yes($7) "}")
        }
        $1 == "routes" {
            add("routes", "{\"family\":" json($2) ",\"destination\":" \
                json_field($3) ",\"gateway\":" json_field($4) \
                ",\"interface\":" json_field($5) ",\"metric\":" \
                json_number($6) ",\"table\":" json_field($7) ",\"source\":" \
                json_field($8) ",\"protocol\":" json_field($9) ",\"type\":" \
                json_field($10) "}")
        }
        $1 == "dns" { dns[$2] = dns[$2] (dns[$2] == "" ? "" : ",") \
            json_field($3); seen["dns"] = 1 }
        $1 == "files" {
            if (!manager[$2]++) managers = managers \
                (managers == "" ? "" : ",") json_field($2)
            add("files", json_field($3))
        }
        $1 == "mounts" {
            add("mounts", "{\"target\":" json_field($2) ",\"device\":" \
                json_field($3) ",\"uuid\":" json_field($4) ",\"type\":" \
                json_field($5) "}")
        }
        END {
            printf "{\n  \"schema\": 1, \"kind\": \"guest-record\",\n"
            printf "  \"generator\": %s, \"job\": %s, \"collected\": %s,\n", \
                json(ENVIRON["RECORD_GENERATOR"]), \
                json(ENVIRON["RECORD_JOB"]), json(ENVIRON["RECORD_TIME"])
            printf "  \"source\": %s, \"target\": %s,\n  \"guest\": {", \
                json(ENVIRON["RECORD_FROM"]), json(ENVIRON["RECORD_TO"])
            printf "\"os\":\"linux\""
            count = split("id version name hostname kernel architecture " \
                "init firmware", key, " ")
            for (i = 1; i <= count; i++)
                printf ",\"%s\":%s", key[i], key[i] in system_value \
                    ? json_field(system_value[key[i]]) : "null"
            printf ",\"network_managers\":[%s]}", managers
            list("nics", "nics")
            list("links", "links")
            list("addresses", "addresses")
            list("routes", "routes")
            if (seen["nics"] || seen["dns"])
                printf ",\n  \"dns\": {\"servers\":[%s],\"search\":[%s]}", \
                    dns["server"], dns["search"]
            list("files", "network_files")
            list("mounts", "mounts")
            printf "\n}\n"
        }'
}
