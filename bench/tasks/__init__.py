"""What is trained: data, network, optimiser and batch sizes, as in Knutsson et al. 2023."""

from bench.tasks import cifar10, mnist, patch_camelyon, two_circles

TASKS = {
    task.name: task
    for task in (
        two_circles.TASK,
        mnist.TASK,
        mnist.FASHION,
        cifar10.TASK,
        cifar10.TASK_OF_100,
        patch_camelyon.TASK,
    )
}
