#!/usr/bin/env bash
# Makes, once, what gcp.yaml names: network, accounts, bucket with its key, registry. Then fill YOUR_… in gcp.yaml.
#
#     bash cluster/gcp-setup.sh PROJECT BUCKET 203.0.113.7/32        # project, bucket, the address you come from
#
# Take a project of its own for it: `ray up` gives an account of its own making (ray-autoscaler-sa-v1) rights over the
# whole project, and would not go on without. No machine of gcp.yaml runs as that account.
set -euo pipefail
project=$1 bucket=$2 address=$3 region=us-central1

gcloud config set project "$project"
gcloud services enable compute.googleapis.com iam.googleapis.com artifactregistry.googleapis.com storage.googleapis.com \
    cloudresourcemanager.googleapis.com

# A network without the default one's SSH from anywhere.
gcloud compute networks create vgsr --subnet-mode=custom
gcloud compute networks subnets create vgsr --network=vgsr --region="$region" --range=10.77.0.0/16
gcloud compute firewall-rules create vgsr-within --network=vgsr --source-ranges=10.77.0.0/16 --allow=tcp,udp,icmp
gcloud compute firewall-rules create vgsr-ssh --network=vgsr --source-ranges="$address" --allow=tcp:22

gcloud artifacts repositories create vgsr --location="$region" --repository-format=docker
gcloud storage buckets create "gs://$bucket" --location="$region" --uniform-bucket-level-access --public-access-prevention

# What the head needs to start, see and end workers, and no more; workers may only pull the image.
gcloud iam roles create vgsr_head --project="$project" --title="VGSR head" --permissions="$(paste -sd, <<'PERMISSIONS'
compute.disks.create
compute.images.useReadOnly
compute.instances.create
compute.instances.delete
compute.instances.get
compute.instances.list
compute.instances.setLabels
compute.instances.setMetadata
compute.instances.setServiceAccount
compute.projects.get
compute.subnetworks.use
compute.subnetworks.useExternalIp
compute.zoneOperations.get
PERMISSIONS
)"
for name in head worker bucket; do
    gcloud iam service-accounts create "vgsr-$name"
done
gcloud projects add-iam-policy-binding "$project" --role="projects/$project/roles/vgsr_head" --condition=None \
    --member="serviceAccount:vgsr-head@$project.iam.gserviceaccount.com"
gcloud iam service-accounts add-iam-policy-binding "vgsr-worker@$project.iam.gserviceaccount.com" \
    --role=roles/iam.serviceAccountUser --member="serviceAccount:vgsr-head@$project.iam.gserviceaccount.com"
for name in head worker; do
    gcloud artifacts repositories add-iam-policy-binding vgsr --location="$region" --role=roles/artifactregistry.reader \
        --member="serviceAccount:vgsr-$name@$project.iam.gserviceaccount.com"
done

# VGSR speaks S3; Google's storage does too, with an HMAC key. This one opens the bucket and nothing else.
gcloud storage buckets add-iam-policy-binding "gs://$bucket" --role=roles/storage.objectAdmin \
    --member="serviceAccount:vgsr-bucket@$project.iam.gserviceaccount.com"
mkdir -p ~/.vgsr
(
    umask 077
    gcloud storage hmac create "vgsr-bucket@$project.iam.gserviceaccount.com" \
        --format="value[separator=' '](metadata.accessId,secret)" | {
        read -r id secret
        printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$secret"
    } > ~/.vgsr/gcs_key
)
echo "YOUR_PROJECT=$project YOUR_BUCKET=$bucket YOUR_REGISTRY=$region-docker.pkg.dev/$project/vgsr"
echo "YOUR_VM_IMAGE: one with NVIDIA driver 580 or newer and Docker, as its full name, from"
echo "    gcloud compute images list --project deeplearning-platform-release --filter=family~nvidia-580 --uri"
