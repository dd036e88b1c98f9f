"""Validates exports with other people's schemas.

    check.py ocsf FILE    every line against the published schema of its class, version and profiles
    check.py otlp FILE    every line as the LogsData message of OpenTelemetry's own definitions
"""

import base64
import json
import sys
from collections import Counter


def check_ocsf(lines):
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schemas, validators, classes = {}, {}, Counter()
    for number, line in enumerate(lines, 1):
        event = json.loads(line)
        version, profiles = event["metadata"]["version"], event["metadata"]["profiles"]
        if version not in schemas:
            schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
        key = (version, event["class_uid"], tuple(profiles))
        if key not in validators:
            name = schemas[version].lookup_class_name_from_uid(class_uid=event["class_uid"])
            validators[key] = Draft202012Validator(schemas[version].get_class_schema(class_name=name, profiles=profiles))
        for error in validators[key].iter_errors(event):
            yield f"line {number}: class {event['class_uid']}: {error.json_path}: {error.message[:300]}"
        classes[event["class_name"]] += 1
    print(dict(classes), file=sys.stderr)


def check_otlp(lines):
    from google.protobuf.json_format import ParseDict, ParseError
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

    for number, line in enumerate(lines, 1):
        data = json.loads(line)
        # OTLP's JSON has identifiers in hexadecimal where that of protocol buffers has base64.
        for resource in data["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    record["traceId"] = base64.b64encode(bytes.fromhex(record["traceId"])).decode()
        try:
            message = ParseDict(data, LogsData())
        except (ParseError, ValueError) as error:
            yield f"line {number}: {error}"
            continue
        for record in message.resource_logs[0].scope_logs[0].log_records:
            if len(record.trace_id) != 16 or not record.time_unix_nano or not record.severity_number:
                yield f"line {number}: an incomplete record"
            keys = [attribute.key for attribute in record.attributes]
            if len(keys) != len(set(keys)):
                yield f"line {number}: an attribute is there twice"


def main():
    kind, path = sys.argv[1:]
    lines = open(path, encoding="utf-8").read().splitlines()
    problems = list({"ocsf": check_ocsf, "otlp": check_otlp}[kind](lines))
    # The same problem of many lines is one problem.
    for problem, count in Counter(problem.split(": ", 1)[1] for problem in problems).items():
        print(f"{count} x {problem}")
    print(f"{kind}: {len(lines)} lines, {len(problems)} problems")
    sys.exit(1 if problems or not lines else 0)


main()
