"""Writes signatures.json: what botocore signs, at one moment, of questions that are easily encoded in two ways. pip install botocore"""

import datetime
import json
import pathlib
import sys
import urllib.parse
from unittest import mock

import botocore
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AT = datetime.datetime(2026, 11, 30, 7, 8, 9, tzinfo=datetime.timezone.utc)
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

CASES = [
    ("GET", "eu-central-1", None, "https://bucket.s3.eu-central-1.amazonaws.com", "model/config.json", {}, {}),
    ("GET", "us-east-1", "session/token+==", "https://s3.us-east-1.amazonaws.com/dotted.bucket", "a+b/@c/d e/%41/ü😀/~'()*!", {}, {}),
    ("GET", "auto", None, "http://127.0.0.1:7070/own", "", {"list-type": "2", "prefix": "a b/+@&=%/ü", "delimiter": "/", "max-keys": "1000"}, {}),
    ("HEAD", "us-west-2", None, "https://minio.test:9000/base/own", "x;y=z&w?v#u:t,s$r", {}, {"x-amz-request-payer": "requester"}),
    ("GET", "us-east-1", "token", "http://127.0.0.1:7070/own", "", {"continuation-token": "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=", "list-type": "2"}, {}),
]


def encoded(key):
    return "/".join(urllib.parse.quote(part, safe="-_.~") for part in key.split("/"))


def signed(method, region, token, base, key, query, headers):
    text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in query.items())
    url = f"{base}/{encoded(key)}" if key else base + ("?" if text else "")
    url = url + ("?" if key and text else "") + text
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    request.context["payload_signing_enabled"] = False
    # What the service itself allows over TLS, and we do anywhere: ranges have no body.
    auth = botocore.auth.S3SigV4Auth(Credentials(KEY_ID, SECRET, token), "s3", region)
    with mock.patch.object(auth, "_should_sha256_sign_payload", return_value=False), mock.patch(
        "botocore.auth.get_current_datetime", return_value=AT.replace(tzinfo=None)
    ):
        auth.add_auth(request)
    return {
        "method": method,
        "url": url,
        "key": key,
        "region": region,
        "sessionToken": token,
        "headers": headers,
        "authorization": request.headers["Authorization"],
    }


result = {
    "botocore": botocore.__version__,
    "at": AT.isoformat().replace("+00:00", "Z"),
    "accessKeyId": KEY_ID,
    "secretAccessKey": SECRET,
    "cases": [signed(*case) for case in CASES],
}
path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("signatures.json"))
path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
