"""A Ray for the tests, run as a script: ``ray_head.py FOLDER`` prints its address, and ends with its stdin."""

import sys

import ray

if __name__ == "__main__":
    started = ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=sys.argv[1],
        _node_ip_address="127.0.0.1",
    )
    sys.stdout.write(f"{started.address_info['gcs_address']}\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()
