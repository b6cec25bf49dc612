"""Sources, targets and perturbed sets, in memory and on disk; knows nothing of training."""

from perturblearn.perturbed.mixing import mix
from perturblearn.perturbed.perturb import perturb, sources_of, targets_of
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.saving import check_images, saved_set, through_files
from perturblearn.perturbed.set_files import lost_standard
from perturblearn.perturbed.shards import set_size, shard_ranges
from perturblearn.perturbed.sources import Sources, chosen_by_f, draw_sources
from perturblearn.perturbed.stored_set import StoredSet
from perturblearn.perturbed.targets import draw_targets
from perturblearn.perturbed.verify import Damage, repair, verify
from perturblearn.perturbed.write_set import ShardSource, write_set

__all__ = [
    "Damage",
    "PerturbedSet",
    "ShardSource",
    "Sources",
    "StoredSet",
    "check_images",
    "chosen_by_f",
    "draw_sources",
    "draw_targets",
    "lost_standard",
    "mix",
    "perturb",
    "repair",
    "saved_set",
    "set_size",
    "shard_ranges",
    "sources_of",
    "targets_of",
    "through_files",
    "verify",
    "write_set",
]
