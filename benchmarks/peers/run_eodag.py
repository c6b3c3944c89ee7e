"""eodag, asked to fetch the one product of the stand-in. Argument: a JSON file with the stand-in's addresses."""

import json
import os
import sys
import time
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, job["longest_wait_s"]))
os.environ |= {"EODAG_PROVIDERS_WHITELIST": '["cop_dataspace"]', "EODAG_EXT_COLLECTIONS_CFG_URI": "",
               "HOME": job["home"]}  # fmt: skip

import eodag.plugins.download.http  # noqa: E402
from eodag import EODataAccessGateway  # noqa: E402

eodag.plugins.download.http.DEFAULT_STREAM_REQUESTS_TIMEOUT = job["read_s"]
gateway = EODataAccessGateway()
gateway.update_providers_config(json.dumps({"cop_dataspace": {
    "search": {"api_endpoint": f"{job['catalogue']}/Products",
               "metadata_mapping": {"eodag:download_link": f"{job['download']}/Products({{uid}})/$value"}},
    "auth": {"oidc_config_url": job["discovery"], "matching_url": job["origin"],
             "credentials": {"username": job["login"], "password": job["password"]}},
    "download": {"extract": job["extract"]},
}}))  # fmt: skip
found = gateway.search(provider="cop_dataspace", collection="S2_MSI_L2A", start="2025-10-01", end="2025-10-30")
[product] = [one for one in found if one.properties["title"] == job["name"]]
gateway.download(product, output_dir=job["out"], wait=0.001, timeout=job["give_up_min"])
